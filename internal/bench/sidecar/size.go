package main

import "time"

// A size says how long the phases are.
type size struct {
	// rounds of batch scrapes each, all programs in turn.
	rounds, batch int
	// residents is how many processes of each program have their memory measured.
	residents int
	faults    int
	starts    int
	idle      time.Duration
	crowd     time.Duration
}

var (
	full  = size{rounds: 15, batch: 300, residents: 3, faults: 20, starts: 11, idle: time.Minute, crowd: time.Minute}
	quick = size{rounds: 5, batch: 200, residents: 1, faults: 3, starts: 5, idle: 10 * time.Second, crowd: 10 * time.Second}
)

const (
	// manyScrapes is after how many the memory is measured.
	manyScrapes = 1000
	// crowdSize is how many scrape at once.
	crowdSize = 20
)
