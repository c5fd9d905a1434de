package acceptance

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// sample is one scrape of a watcher.
type sample struct {
	begun time.Time
	at    time.Time // when the answer was there
	kind  string    // as page.hypervisor has it
	up    bool      // libvirt answers, by the page
	// changed is when the VMI last began or ceased to run here, in seconds since 1970.
	changed float64
}

// watcher scrapes a sidecar in the background, all the while that a test does things.
type watcher struct {
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	samples []sample
	err     error // the first scrape that was not as it must be
}

// pace is the time between two scrapes of a watcher.
func pace() time.Duration {
	if testkit.Soak() {
		return 5 * time.Millisecond
	}
	return 20 * time.Millisecond
}

// watch begins to scrape. When the test ends, every scrape must have been answered, with nothing wrong on the page.
func (p *sidecar) watch(t *testing.T) *watcher {
	t.Helper()
	p.awaitServing(t)
	w := &watcher{quit: make(chan struct{}), done: make(chan struct{})}
	go w.run(newScraper(t, p.listen, p.vmi))
	t.Cleanup(func() { w.check(t) })
	return w
}

func (w *watcher) run(s *scraper) {
	defer close(w.done)
	tick := time.NewTicker(pace())
	defer tick.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
			w.scrape(s)
		}
	}
}

func (w *watcher) scrape(s *scraper) {
	now := sample{begun: time.Now()}
	found, err := s.scrape()
	now.at = time.Now()
	if err == nil {
		now.kind, err = found.hypervisor()
		now.up = found.number(upMetric) == 1
		now.changed = found.number(changeMetric)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.err == nil {
		w.err = err
	}
	w.samples = append(w.samples, now)
}

func (w *watcher) check(t *testing.T) {
	t.Helper()
	close(w.quit)
	<-w.done
	if w.err != nil {
		t.Errorf("a scrape went wrong: %v", w.err)
	}
	if len(w.samples) == 0 {
		t.Errorf("nothing was scraped")
		return
	}
	var all []time.Duration
	for _, s := range w.samples {
		all = append(all, s.at.Sub(s.begun))
	}
	slices.Sort(all)
	t.Logf("%d scrapes, all answered: median %v, 99 %% within %v, slowest %v", len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
}

// since returns the scrapes that were begun after the moment: one that was under way
// then may show the state before.
func (w *watcher) since(moment time.Time) []sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := slices.BinarySearchFunc(w.samples, moment, func(s sample, m time.Time) int { return s.begun.Compare(m) })
	return slices.Clone(w.samples[i:])
}

// kinds returns what was shown since the moment, without repetitions.
func (w *watcher) kinds(moment time.Time) []string {
	var kinds []string
	for _, s := range w.since(moment) {
		kinds = append(kinds, s.kind)
	}
	return slices.Compact(kinds)
}

// begin waits for a scrape of what is shown before something is done, and returns the
// moment before that scrape.
func (w *watcher) begin(t *testing.T, shown string) time.Time {
	t.Helper()
	begin := time.Now()
	w.awaitKinds(t, begin, shown)
	return begin
}

// awaitKinds waits until just these values were shown since the moment.
func (w *watcher) awaitKinds(t *testing.T, since time.Time, want ...string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if shown := w.kinds(since); !slices.Equal(shown, want) {
			return fmt.Errorf("shown was %q, want %q", shown, want)
		}
		return nil
	})
}
