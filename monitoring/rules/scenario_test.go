package rules

import (
	"slices"
	"strings"
)

// A kind of scenario. Each rule is shown in each kind that can happen to it.
type kind string

const (
	fires     kind = "fires"
	silent    kind = "does not fire"
	resolves  kind = "resolves"
	restart   kind = "survives a restart of Prometheus"
	migration kind = "survives a migration"
	reboot    kind = "survives a reboot of the node"
)

// A scenario is a story told in series, and what is to be seen at some minutes of it.
type scenario struct {
	rule  string // an alert's or a recording's name
	kind  kind
	story string
	input []line
	want  []moment
	// beside is what is to be seen if the Prometheus has other clusters, too; nil is the same.
	beside []moment
	// describes is the description of the one alert at the first moment.
	describes string
}

// A moment is what fires, or what is recorded, in that minute; nothing when empty.
type moment struct {
	minute int
	series []labels
	value  float64 // of recorded series; 0 is 1
}

func at(minute int, series ...labels) moment { return moment{minute: minute, series: series} }

// of is a VM of namespace shop as the alerts name it.
func of(name, node string, more ...string) labels {
	return labels{"namespace": "shop", "name": name, "node": node}.with(more...)
}

func scenarios() []scenario {
	return slices.Concat(recordingScenarios(), emulationScenarios(), judgementScenarios(), guestScenarios(), neighbourScenarios(), architectureScenarios(), fleetScenarios(),
		targetScenarios(), coverageScenarios(), webhookScenarios(), certificateScenarios(), relayScenarios(), evaluationScenarios(), withoutExporterScenarios())
}

// scenariosOf gives those of one rule.
func scenariosOf(rule string) []scenario {
	return slices.DeleteFunc(scenarios(), func(s scenario) bool { return s.rule != rule })
}

func isRecording(rule string) bool { return strings.Contains(rule, ":") }
