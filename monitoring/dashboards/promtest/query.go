package promtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Series is what a query gave for one set of labels, in the order of time.
type Series struct {
	Labels map[string]string
	Points []Point
}

// Point is a value at a time.
type Point struct {
	At    time.Time
	Value float64
}

// Now asks for the values at the end of the history.
func (s *Server) Now(expr string) ([]Series, error) {
	return s.ask("query", url.Values{"query": {expr}, "time": {fmt.Sprint(s.End.Unix())}})
}

// Over asks for the values of the whole history, five minutes apart.
func (s *Server) Over(expr string) ([]Series, error) {
	return s.ask("query_range", url.Values{"query": {expr}, "step": {"300"},
		"start": {fmt.Sprint(s.End.Add(-History).Unix())}, "end": {fmt.Sprint(s.End.Unix())}})
}

func (s *Server) ask(kind string, form url.Values) ([]Series, error) {
	response, err := http.PostForm(s.URL+"/api/v1/"+kind, form)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  *point
				Values []point
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", form.Get("query"), err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", form.Get("query"), answer.Error)
	}
	var all []Series
	for _, one := range answer.Data.Result {
		if one.Value != nil {
			one.Values = []point{*one.Value}
		}
		series := Series{Labels: one.Metric}
		for _, value := range one.Values {
			series.Points = append(series.Points, Point(value))
		}
		all = append(all, series)
	}
	return all, nil
}

type point Point

// UnmarshalJSON reads [1234.5, "6"].
func (p *point) UnmarshalJSON(content []byte) error {
	var pair struct {
		at    float64
		value string
	}
	if err := json.Unmarshal(content, &[]any{&pair.at, &pair.value}); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(pair.value, 64)
	if err != nil {
		return err
	}
	p.At, p.Value = time.UnixMilli(int64(pair.at*1000)).UTC(), value
	return nil
}
