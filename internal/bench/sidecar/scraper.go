package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// scrapeTimeout is Prometheus' default.
const scrapeTimeout = 10 * time.Second

// accept is what Prometheus 3 asks for.
const accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"

// A scraper scrapes over one connection, as Prometheus does, at the least cost to
// the machine: what it costs itself is part of every latency.
type scraper struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
	body    bytes.Buffer
	gzipped bool
}

func newScraper(address string, compressed bool) (*scraper, error) {
	conn, err := net.DialTimeout("tcp", address, scrapeTimeout)
	if err != nil {
		return nil, err
	}
	request := "GET /metrics HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: Prometheus/3.5.0\r\nAccept: " + accept + "\r\n"
	if compressed {
		request += "Accept-Encoding: gzip\r\n"
	}
	request += "X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
	return &scraper{conn: conn, reader: bufio.NewReader(conn), request: []byte(request)}, nil
}

// scrape fetches one page, which page then returns, and tells how long it took.
func (s *scraper) scrape() (time.Duration, error) {
	began := time.Now()
	if err := s.conn.SetDeadline(began.Add(scrapeTimeout)); err != nil {
		return 0, err
	}
	if _, err := s.conn.Write(s.request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(s.reader, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	s.body.Reset()
	if _, err := s.body.ReadFrom(response.Body); err != nil {
		return 0, err
	}
	took := time.Since(began)
	s.gzipped = response.Header.Get("Content-Encoding") == "gzip"
	if response.StatusCode != http.StatusOK {
		return took, fmt.Errorf("scrape: %s: %s", response.Status, s.body.String())
	}
	return took, nil
}

// page is what the last scrape brought.
func (s *scraper) page() (string, error) {
	if !s.gzipped {
		return s.body.String(), nil
	}
	unzipped, err := gzip.NewReader(&s.body)
	if err != nil {
		return "", err
	}
	page, err := io.ReadAll(unzipped)
	return string(page), err
}

func (s *scraper) close() { s.conn.Close() }

// scrapeOnce fetches one page over a connection of its own.
func scrapeOnce(address string) (string, error) {
	s, err := newScraper(address, false)
	if err != nil {
		return "", err
	}
	defer s.close()
	if _, err := s.scrape(); err != nil {
		return "", err
	}
	return s.page()
}

// scrapeMany fetches times pages over one connection and returns each one's latency.
func scrapeMany(s *scraper, times int) ([]time.Duration, error) {
	took := make([]time.Duration, times)
	for i := range took {
		var err error
		if took[i], err = s.scrape(); err != nil {
			return nil, err
		}
	}
	return took, nil
}
