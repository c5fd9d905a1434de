package session

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A ticker is a time.Ticker that lets the process sleep. The kernel wakes a
// process from epoll up to 0.1 % late (select_estimate_accuracy in fs/select.c),
// and Go's runtime spends the 25 ms that this makes of 25 s on looking at the
// clock every 20 µs: some 60 wake-ups a minute. A timerfd is on time.
type ticker struct {
	C    <-chan struct{}
	file *os.File
	done chan struct{}
}

// newTicker ticks every period until it is stopped; it must be stopped.
func newTicker(period time.Duration) (*ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	each := unix.NsecToTimespec(period.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: each, Value: each}, nil); err != nil {
		file.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("set a timer to %v: %w", period, err)
	}
	ticks := make(chan struct{}, 1)
	t := &ticker{C: ticks, file: file, done: make(chan struct{})}
	go t.run(ticks)
	return t, nil
}

func (t *ticker) run(ticks chan<- struct{}) {
	defer close(t.done)
	expirations := make([]byte, 8)
	for {
		if _, err := t.file.Read(expirations); err != nil {
			return // stopped
		}
		signal(ticks)
	}
}

// Stop ends the ticker and waits for it.
func (t *ticker) Stop() {
	t.file.Close() //nolint:errcheck // nothing was written
	<-t.done
}
