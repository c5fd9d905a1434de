package main

import (
	"strconv"
	"syscall"
	"time"
)

// backlog is how many lines wait for a reader of the log that does not read.
const backlog = 16

// log writes lines as the exporter's promslog does. It never waits: a container
// runtime that no longer reads the pipe must not keep the exporter from being
// started. Lines beyond the backlog are lost.
type log struct {
	lines chan []byte
	json  bool
}

// newLog starts the one goroutine that may have to wait for the reader.
func newLog(fd uintptr, json bool) log {
	l := log{lines: make(chan []byte, backlog), json: json}
	go func() {
		for line := range l.lines {
			_, _ = syscall.Write(int(fd), line) // nobody to tell
		}
	}()
	return l
}

// wantsJSON reads the exporter's flag.
func wantsJSON(command []string) bool {
	for i, argument := range command {
		if argument == "--log.format=json" || argument == "--log.format" && i+1 < len(command) && command[i+1] == "json" {
			return true
		}
	}
	return false
}

func (l log) restart(reason string, restarts int, pause time.Duration) {
	line := l.line(time.Now(), reason, restarts, pause)
	select {
	case l.lines <- line:
	default:
	}
}

func (l log) line(now time.Time, reason string, restarts int, pause time.Duration) []byte {
	var b []byte
	now = now.UTC()
	const layout, message = "2006-01-02T15:04:05.000Z07:00", "the exporter ended; starting it anew"
	if l.json {
		b = append(b, `{"time":"`...)
		b = now.AppendFormat(b, layout)
		b = append(b, `","level":"WARN","source":"supervisor","msg":"`+message+`","reason":`...)
		b = strconv.AppendQuoteToASCII(b, reason)
		b = append(b, `,"restarts":`...)
		b = strconv.AppendInt(b, int64(restarts), 10)
		b = append(b, `,"wait":"`+pause.String()+"\"}\n"...)
		return b
	}
	b = append(b, "time="...)
	b = now.AppendFormat(b, layout)
	b = append(b, ` level=WARN source=supervisor msg="`+message+`" reason=`...)
	b = strconv.AppendQuoteToASCII(b, reason)
	b = append(b, " restarts="...)
	b = strconv.AppendInt(b, int64(restarts), 10)
	return append(b, " wait="+pause.String()+"\n"...)
}
