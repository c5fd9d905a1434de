package libvirttest

import (
	"context"
	"time"
)

// TB is what New needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// New starts a Daemon that ends with the test, and shows its log if the test failed.
func New(t TB) *Daemon {
	t.Helper()
	d, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of libvirtd %s:\n%s", d.folder, d.Log())
		}
		if err := d.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})
	return d
}

// NewRecorder records d's domains until the test ends; see Record.
func NewRecorder(t TB, d *Daemon, poll time.Duration) *Recorder {
	t.Helper()
	r, err := d.Record(poll)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(r.Close)
	return r
}
