package admission

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// rejectedEvery is how often a rejected request is logged, for each reason. The counter has all of them.
const rejectedEvery = 10 * time.Second

// rejectedLog writes a line about the first rejected request of each reason, and then at most one every
// rejectedEvery: a stranger must not fill the log, nor hide one reason behind another.
type rejectedLog struct {
	logger *slog.Logger
	due    []rate.Sometimes // by Problem
}

func newRejectedLog(logger *slog.Logger) *rejectedLog {
	due := make([]rate.Sometimes, len(Problems()))
	for i := range due {
		due[i] = rate.Sometimes{Interval: rejectedEvery}
	}
	return &rejectedLog{logger: logger, due: due}
}

func (l *rejectedLog) write(o *outcome) {
	l.due[o.problem.kind].Do(func() { o.log(l.logger) })
}
