package dashboards

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"kubevirt-hypervisor-exporter/monitoring/rules"
)

func fleetVariables() []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		dataSource(), clusters(),
		choice("namespace", "Namespace", fmt.Sprintf(`label_values(%s{%s,%s}, namespace)`, rules.Newest, rules.NotVMs, inClusters)),
		choice("node", "Node", fmt.Sprintf(`label_values(%s{%s,%s,namespace=~"$namespace"}, node)`, rules.Newest, rules.NotVMs, inClusters)),
	}
}

// vmVariables choose one VM. Its cluster can remain all: where there is no such label, there is none to choose.
func vmVariables() []cog.Builder[dashboard.VariableModel] {
	return []cog.Builder[dashboard.VariableModel]{
		dataSource(), clusters(),
		one("namespace", "Namespace", fmt.Sprintf(`label_values(%s{%s,%s}, namespace)`, rules.Newest, rules.NotVMs, inClusters)),
		one("name", "VM", fmt.Sprintf(`label_values(%s{%s,%s,namespace="$namespace"}, name)`, rules.Newest, rules.NotVMs, inClusters)),
	}
}

func dataSource() cog.Builder[dashboard.VariableModel] {
	return dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")
}

func clusters() cog.Builder[dashboard.VariableModel] {
	return choice("cluster", "Cluster", fmt.Sprintf(`label_values(%s{%s}, cluster)`, rules.Newest, rules.NotVMs))
}

// one returns a variable that is one value of a label.
func one(name, label, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source()).
		Query(dashboard.StringOrMap{String: &query}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
}

// choice returns a variable that offers the values of a label, all of them by default. All is .*, so that a series
// without the label is not lost.
func choice(name, label, query string) cog.Builder[dashboard.VariableModel] {
	all := dashboard.VariableOption{
		Selected: cog.ToPtr(true),
		Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
		Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
	}
	return one(name, label, query).Multi(true).IncludeAll(true).AllValue(".*").Current(all)
}

type link struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// tableLinks returns the links of the columns: from a cluster, node or namespace to the dashboard for it alone, and from a VM
// to its own. A table without the label of clusters has no value to give on: what is chosen is given on instead.
func tableLinks() map[string][]link {
	own := "/d/" + UID + "?${datasource:queryparam}&var-"
	return map[string][]link{
		"cluster":   {{"This cluster only", own + "cluster=${__value.text}"}},
		"namespace": {{"This namespace only", own + "namespace=${__value.text}"}},
		"node":      {{"This node only", own + "node=${__value.text}"}},
		"name":      {{"This VM", "/d/" + VMUID + "?${datasource:queryparam}&${cluster:queryparam}&var-namespace=${__data.fields.namespace}&var-name=${__value.text}"}},
	}
}
