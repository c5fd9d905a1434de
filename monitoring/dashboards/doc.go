// Package dashboards is the source of the dashboard. Its panels are plain values, so
// that the Grafana JSON, the tests and the picture in docs/dashboards are made of
// the same queries.
package dashboards
