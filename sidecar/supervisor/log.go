package main

import (
	"strconv"
	"syscall"
	"time"
)

// backlog is how many lines wait for a reader of the log that does not read.
const backlog = 16

// log writes lines. It never waits: a container runtime that no longer reads the
// pipe must not keep the exporter from being started. Lines beyond the backlog are lost.
type log chan []byte

// newLog starts the one goroutine that may have to wait for the reader.
func newLog(fd uintptr) log {
	l := make(log, backlog)
	go func() {
		for line := range l {
			_, _ = syscall.Write(int(fd), line) // there is no other place to report an error
		}
	}()
	return l
}

func (l log) restart(reason string, restarts int, pause time.Duration) {
	select {
	case l <- line(time.Now(), reason, restarts, pause):
	default:
	}
}

// line is one restart in the format of the exporter's own log, JSON.
func line(now time.Time, reason string, restarts int, pause time.Duration) []byte {
	b := []byte(`{"time":"`)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, `","level":"WARN","source":"supervisor","msg":"the exporter ended; restarting it","reason":`...)
	b = strconv.AppendQuoteToASCII(b, reason)
	b = append(b, `,"restarts":`...)
	b = strconv.AppendInt(b, int64(restarts), 10)
	return append(b, `,"wait":"`+pause.String()+"\"}\n"...)
}
