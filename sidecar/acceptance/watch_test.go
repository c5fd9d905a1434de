package acceptance

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// slowest is how long a scrape may take before a test fails. It is no measure of speed:
// with 25 processes to each core, 4.1 s was seen. It tells a scrape that waits for libvirt:
// that would take the sidecar's 5 s for libvirt, or more.
const slowest = 5 * time.Second

// sample is one scrape of a watcher.
type sample struct {
	begun time.Time
	at    time.Time // when the answer was there
	kind  string    // as page.hypervisor has it
	up    bool      // libvirt is said to answer
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

// watch begins to scrape at the given pace. When the test ends, every scrape must have
// been answered, in time and with nothing wrong on the page.
func (p *sidecar) watch(t *testing.T, pace time.Duration) *watcher {
	t.Helper()
	p.awaitServing(t)
	w := &watcher{quit: make(chan struct{}), done: make(chan struct{})}
	go w.run(newScraper(t, p.listen, p.vmi), pace)
	t.Cleanup(func() { w.check(t) })
	return w
}

func (w *watcher) run(s *scraper, pace time.Duration) {
	defer close(w.done)
	tick := time.NewTicker(pace)
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
	worst := all[len(all)-1]
	t.Logf("%d scrapes, all answered: median %v, 99 %% within %v, slowest %v", len(all), all[len(all)/2], all[len(all)*99/100], worst)
	if worst > slowest {
		t.Errorf("a scrape took %v", worst)
	}
}

// since returns the scrapes that were begun after the moment: one that was under way
// then may tell of what was before.
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

// begin waits for a scrape of what is shown before something is done, and tells the
// moment from which on that was so.
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
