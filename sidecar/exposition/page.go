package exposition

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// pages answers scrapes from memory: what is shown changes a few times in a VM's
// life, and is scraped four times a minute. A page is rendered, and compressed,
// once for each snapshot and form; a scrape then costs less than one of a single
// static gauge, and no garbage (a gzip writer alone is 0.8 MB of it).
type pages struct {
	config  Config
	metrics prometheus.Gatherer

	mu    sync.Mutex
	shown moment
	forms map[form][]byte
}

// A form is how a page is written. There are few, however clients ask.
type form struct {
	format expfmt.Format
	gzip   bool
}

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wanted := form{
		format: expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...),
		gzip:   acceptsGzip(r.Header),
	}
	body, err := p.page(wanted)
	if err != nil {
		p.config.Logger.Error("cannot render the metrics", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", string(wanted.format))
	header["Vary"] = []string{"Accept", "Accept-Encoding"}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if wanted.gzip {
		header.Set("Content-Encoding", "gzip")
	}
	_, _ = w.Write(body) // the client may have gone
}

// page returns the page of this moment. A snapshot that comes meanwhile may be in it
// already; the next scrape then renders it again.
func (p *pages) page(wanted form) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := momentOf(p.config.Source, p.config.Now()); now != p.shown {
		p.shown, p.forms = now, map[form][]byte{}
	}
	if kept, ok := p.forms[wanted]; ok {
		return kept, nil
	}
	body, err := render(p.metrics, wanted)
	if err == nil {
		p.forms[wanted] = body
	}
	return body, err
}

// render gathers the metrics and writes them.
func render(metrics prometheus.Gatherer, wanted form) ([]byte, error) {
	families, err := metrics.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather: %w", err)
	}
	var body bytes.Buffer
	encoder := expfmt.NewEncoder(&body, wanted.format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return nil, fmt.Errorf("encode %s: %w", family.GetName(), err)
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok { // of OpenMetrics
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("encode the end: %w", err)
		}
	}
	if wanted.gzip {
		return compress(body.Bytes()), nil
	}
	return body.Bytes(), nil
}

// compress is gzip at its fastest: for a page of 3 kB the other levels gain some
// bytes and cost four times the memory.
func compress(body []byte) []byte {
	var compressed bytes.Buffer
	// Neither a valid level nor a buffer gives an error.
	writer, _ := gzip.NewWriterLevel(&compressed, gzip.BestSpeed)
	_, _ = writer.Write(body)
	_ = writer.Close()
	return compressed.Bytes()
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3): a coding counts
// unless its weight is 0.
func acceptsGzip(header http.Header) bool {
	for _, list := range header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(list, ",") {
			name, parameter, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				weight, isWeight := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
				value, err := strconv.ParseFloat(weight, 64)
				return !isWeight || err == nil && value > 0
			}
		}
	}
	return false
}
