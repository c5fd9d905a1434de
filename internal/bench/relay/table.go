package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// The targets.
const (
	maxAdded    = time.Millisecond
	maxCore     = 0.005
	maxResident = 40 << 20
	maxBinary   = 20e6
)

// A table compares the relay with the others; a cell is empty where there is nothing
// to compare.
type table struct{ *tabwriter.Writer }

// row prints a line; ok is whether the relay's figure keeps to the target, if there
// is one.
func (t table) row(measure, relay, socket, tls, plain, target string, ok bool) {
	verdict := ""
	switch {
	case target == "":
	case ok:
		verdict = "ok"
	default:
		verdict = "over"
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", measure, relay, socket, tls, plain, target, verdict)
}

// alone is a row of the relay's only.
func (t table) alone(measure, relay, target string, ok bool) {
	t.row(measure, relay, "", "", "", target, ok)
}

// write prints the table.
func (s *stand) write(out io.Writer) error {
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t, "measure\trelay\tsocket itself\tplain server, TLS\tplain server\ttarget\tverdict")
	t.alone("stripped binary", fmt.Sprintf("%.1f MB", float64(s.binary)/1e6), "≤ 20 MB", s.binary <= maxBinary)
	s.writeCalm(t)
	s.writeHasty(t)
	s.writeTogether(t)
	return t.Flush()
}

func (s *stand) writeCalm(t table) {
	const when = "250 pods every 15 s: "
	relay, socket, tls, plain := &s.relay.calm, &s.socket.calm, &s.tls.calm, &s.plain.calm
	t.alone(when+"scrapes that went well, and not", fmt.Sprintf("%d, %d", len(relay.took), relay.failed), "all well", relay.failed == 0)
	t.alone(when+"questions to the API server", fmt.Sprint(s.reviewer.Asked()), "", true)
	quantiles(t, when, "", relay, socket, tls, plain) // turns too long for a verdict
	t.row(when+"CPU per scrape", micro(relay.cpuPerScrape()), "", micro(tls.cpuPerScrape()), micro(plain.cpuPerScrape()), "", true)
	t.row(when+"CPU, of a core", percent(relay.core()), "", percent(tls.core()), percent(plain.core()), "< 0.5 %", relay.core() < maxCore)
	t.row(when+"most resident", mebibytes(relay.resident), "", mebibytes(tls.resident), mebibytes(plain.resident), "≤ 40 MiB", relay.resident <= maxResident)
	t.alone(when+"descriptors, least and most", fmt.Sprintf("%d, %d", relay.leastFiles, relay.mostFiles), "", true)
}

func (s *stand) writeHasty(t table) {
	const when = "as fast as it goes: "
	relay, socket, tls, plain := &s.relay.hasty, &s.socket.hasty, &s.tls.hasty, &s.plain.hasty
	quantiles(t, when, "≤ 1 ms", relay, socket, tls, plain)
	t.row(when+"CPU per scrape", micro(relay.cpuPerScrape()), "", micro(tls.cpuPerScrape()), micro(plain.cpuPerScrape()), "", true)
}

// quantiles prints latencies, and what the relay adds to those of the socket itself.
// The target is that of the 99th percentile.
func quantiles(t table, when, target string, relay, socket, tls, plain *seen) {
	for _, q := range []struct {
		name   string
		at     float64
		target string
	}{{"p50", 0.5, ""}, {"p99", 0.99, target}} {
		added := relay.took.at(q.at) - socket.took.at(q.at)
		t.row(when+q.name, micro(relay.took.at(q.at)), micro(socket.took.at(q.at)), micro(tls.took.at(q.at)), micro(plain.took.at(q.at)), "", true)
		t.alone(when+"added at "+q.name, micro(added), q.target, added <= maxAdded)
	}
}

func (s *stand) writeTogether(t table) {
	const when = "16 at once: "
	seen := s.relay.together
	t.alone(when+"scrapes per second", fmt.Sprintf("%.0f", seen.perSecond), "", true)
	t.alone(when+"resident afterwards", mebibytes(seen.resident), "≤ 40 MiB", seen.resident <= maxResident)
	// The connection to the API server comes and goes.
	t.alone(when+"descriptors before and after", fmt.Sprintf("%d, %d", seen.filesBefore, seen.filesAfter), "flat but for 1", seen.filesAfter <= seen.filesBefore+1)
}

func micro(d time.Duration) string { return fmt.Sprintf("%.0f µs", d.Seconds()*1e6) }

func percent(part float64) string { return fmt.Sprintf("%.3f %%", 100*part) }

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
