// Package exposition shows a snapshot to those who ask over HTTP: metrics, a
// landing page, health. It asks nothing of libvirt: a scrape takes the newest
// snapshot and returns.
package exposition
