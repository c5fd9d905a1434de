// Package scrape carries a scrape to a pod's socket and the page back. It reads
// the head of what the pod answers, and never the page.
package scrape
