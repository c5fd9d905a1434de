// Package promtest starts a real Prometheus that already knows six hours of a small
// fleet, for the dashboard's test and picture. It needs Debian's package prometheus.
package promtest
