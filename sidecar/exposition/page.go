package exposition

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/common/expfmt"
)

// pages answers scrapes from memory: what is shown changes a few times in a VM's
// life, and is scraped four times a minute. A page is rendered, and compressed,
// once for each snapshot and form; a scrape then costs less than one of a single
// static gauge, and no garbage (a gzip writer alone is 0.8 MB of it).
type pages struct {
	config Config
	render http.Handler // answers uncompressed

	mu    sync.Mutex
	shown moment
	forms map[form]page
}

// A form is how a page is written. There are few, however clients ask.
type form struct {
	format expfmt.Format
	gzip   bool
}

type page struct {
	code   int
	header http.Header
	body   []byte
}

// ServeHTTP implements http.Handler. Requests with a query are not kept.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		p.render.ServeHTTP(w, r)
		return
	}
	answer := p.page(r)
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.code)
	w.Write(answer.body) //nolint:errcheck // whoever asked has gone
}

func (p *pages) page(r *http.Request) page {
	wanted := form{
		format: expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...),
		gzip:   acceptsGzip(r.Header),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := momentOf(p.config.Source, p.config.Now()); now != p.shown {
		p.shown, p.forms = now, map[form]page{}
	}
	if kept, ok := p.forms[wanted]; ok {
		return kept
	}
	made := p.make(r, wanted)
	if made.code == http.StatusOK {
		p.forms[wanted] = made
	}
	return made
}

// make renders one page. A snapshot that comes meanwhile may be in it already; it
// is then made anew for the next scrape.
func (p *pages) make(r *http.Request, wanted form) page {
	response := &response{page: page{code: http.StatusOK, header: http.Header{}}}
	p.render.ServeHTTP(response, r)
	made := response.page
	if wanted.gzip {
		made.header.Set("Content-Encoding", "gzip")
		made.body = compress(made.body)
	}
	made.header.Set("Content-Length", strconv.Itoa(len(made.body)))
	return made
}

// compress is gzip at its fastest: for a page of 3 kB the other levels gain some
// bytes and cost four times the memory.
func compress(body []byte) []byte {
	var compressed bytes.Buffer
	// Neither a valid level nor a buffer gives an error.
	writer, _ := gzip.NewWriterLevel(&compressed, gzip.BestSpeed)
	writer.Write(body) //nolint:errcheck // see above
	writer.Close()     //nolint:errcheck // see above
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

// response is an http.ResponseWriter that keeps the page.
type response struct{ page }

func (r *response) Header() http.Header { return r.header }
func (r *response) WriteHeader(c int)   { r.code = c }
func (r *response) Write(p []byte) (int, error) {
	r.body = append(r.body, p...)
	return len(p), nil
}
