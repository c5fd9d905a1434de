package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFailOpens(t *testing.T) {
	const name = "inject.hypervisor-exporter.kubevirt.io"
	line := func(labels, value string) string {
		return "apiserver_admission_webhook_fail_open_count{" + labels + "} " + value + "\n"
	}
	for test, want := range map[string]FailOpens{
		"":                                     {},
		"process_start_time_seconds 1.7e+09\n": {Since: time.Unix(1.7e9, 0)},
		"process_start_time_seconds 1.7e+09\n" + line(`name="`+name+`",type="admit"`, "3"):                                   {Count: 3, Since: time.Unix(1.7e9, 0)},
		line(`name="`+name+`",type="admit"`, "3") + line(`type="other",name="`+name+`"`, "2"):                                {Count: 5},
		line(`name="another",type="admit"`, "3"):                                                                             {},
		line(`webhook_name="`+name+`",name="another"`, "3"):                                                                  {},
		"# HELP apiserver_admission_webhook_fail_open_count x\n# TYPE apiserver_admission_webhook_fail_open_count counter\n": {},
	} {
		got, err := readFailOpens(strings.NewReader(test), name)
		require.NoError(t, err, test)
		require.Equal(t, want, got, test)
	}
	for _, broken := range []string{line(`name="`+name+`"`, "many"), "process_start_time_seconds soon\n", strings.Repeat("x", 1<<20)} {
		_, err := readFailOpens(strings.NewReader(broken), name)
		require.ErrorContains(t, err, "read the API server's metrics")
	}
}
