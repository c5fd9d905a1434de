package scrape

import (
	"maps"
	"mime"
	"slices"
	"strings"
)

// versions are those of the exposition formats that are text, by media type
// (Prometheus, docs/instrumenting/content_negotiation). The sidecar offers no
// other.
func versions(mediaType string) []string {
	switch mediaType {
	case "text/plain":
		return []string{"0.0.4", "1.0.0"}
	case "application/openmetrics-text":
		return []string{"0.0.1", "1.0.0"}
	default:
		return nil
	}
}

// parameterOK tells whether a parameter has a value that the formats know.
func parameterOK(mediaType, name, value string) bool {
	switch name {
	case "version":
		return slices.Contains(versions(mediaType), value)
	case "charset":
		return strings.EqualFold(value, "utf-8")
	case "escaping":
		return slices.Contains([]string{"allow-utf-8", "underscores", "dots", "values"}, value)
	default:
		return false
	}
}

// contentType checks that there is one exposition type and writes it anew, so that
// none of the pod's own bytes are passed on.
func contentType(values []string) (string, *outcome) {
	if len(values) != 1 {
		return "", failed(Malformed, "%d Content-Types, want one", len(values))
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil {
		return "", failed(Malformed, "Content-Type %.80q: %w", values[0], err)
	}
	known := parameters["version"] != ""
	for name, value := range parameters {
		known = known && parameterOK(mediaType, name, value)
	}
	if !known {
		return "", failed(Malformed, "Content-Type %.80q is no exposition of metrics", values[0])
	}
	written := mediaType
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		written += "; " + name + "=" + strings.ToLower(parameters[name])
	}
	return written, nil
}

// contentEncoding gives "gzip" or, for none, "".
func contentEncoding(values []string) (string, *outcome) {
	switch encoding := strings.ToLower(strings.Join(values, ", ")); encoding {
	case "", "identity":
		return "", nil
	case "gzip":
		return encoding, nil
	default:
		return "", failed(Malformed, "Content-Encoding %.40q, want gzip or none", encoding)
	}
}
