package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"web":                         "web",
		"two words, häßlich … 日本":     "two words, häßlich … 日本",
		"a\nb\r\tc":                   `a\nb\u000d\tc`,
		"\x1b[2J\x07\x7f":             `\u001b[2J\u0007\u007f`,
		"\u009b31m\u0085":             `\u009b31m\u0085`,
		"\u202a\u202e\u2066\u2069":    `\u202a\u202e\u2066\u2069`,
		"\u2028\u2029\u200f\u061c":    `\u2028\u2029\u200f\u061c`,
		"\xff\x9b":                    `\ufffd\ufffd`,
		"tag \U000e0041":              `tag \udb40\udc41`,
		"zero\u200bwidth\ufeff\u00a0": `zero\u200bwidth\ufeff\u00a0`,
	} {
		require.Equal(t, want, Line(text))
	}
	long := Line(strings.Repeat("é", longest+1))
	require.Len(t, []rune(long), longest)
	require.Equal(t, "…", string([]rune(long)[longest-1:]))
}

func TestClean(t *testing.T) {
	decoded := map[string]any{"text": "a\n", "list": []any{"b\n", map[string]any{"text": "c\n"}}, "number": 1.0, "nothing": nil}
	require.Equal(t, map[string]any{
		"text": `a\n`, "list": []any{`b\n`, map[string]any{"text": `c\n`}}, "number": 1.0, "nothing": nil,
	}, Clean(decoded))
}

func TestPrintf(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	require.NoError(t, w.Printf("%s %-5s|%d %t %s\n", "a\nb", "c", 7, true, errors.New("x\x1by")))
	require.Equal(t, `a\nb c    |7 true x\u001by`+"\n", out.String())
}

// pseudoTerminal returns both ends of a terminal: what is written to the second is read from the first.
func pseudoTerminal(t *testing.T) (reader, terminal *os.File) {
	t.Helper()
	reader, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, reader.Close()) })
	require.NoError(t, unix.IoctlSetPointerInt(int(reader.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(reader.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, terminal.Close()) })
	return reader, terminal
}

func TestColours(t *testing.T) {
	for name, one := range map[string]struct {
		environment map[string]string
		want        string
	}{
		"terminal":             {map[string]string{"TERM": "xterm"}, "\x1b[31mfail\x1b[0m a\r\n"},
		"NO_COLOR":             {map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, "fail a\r\n"},
		"NO_COLOR is empty":    {map[string]string{"TERM": "xterm", "NO_COLOR": ""}, "\x1b[31mfail\x1b[0m a\r\n"},
		"a terminal without":   {map[string]string{"TERM": "dumb"}, "fail a\r\n"},
		"the terminal's unset": {nil, "\x1b[31mfail\x1b[0m a\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			reader, out := pseudoTerminal(t)
			w := NewWriter(out)
			w.AllowColours(func(name string) string { return one.environment[name] })
			require.NoError(t, w.Printf("%s %s\n", Coloured{"fail", Red}, "a"))
			line, err := bufio.NewReader(reader).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, one.want, line)
		})
	}
	var out bytes.Buffer
	w := NewWriter(&out)
	w.AllowColours(func(string) string { return "" })
	require.NoError(t, w.Printf("%s\n", Coloured{"o\x1bk", Green}))
	require.Equal(t, `o\u001bk`+"\n", out.String(), "not a terminal")
}

// JSON that was escaped again has the same value.
func TestFilterKeepsJSON(t *testing.T) {
	text := "a\u202eb\u009b\x7f\U000e0041\n"
	var out bytes.Buffer
	require.NoError(t, json.NewEncoder(NewWriter(&out).Filter()).Encode(text))
	require.NotContains(t, out.String(), "\u202e")
	var got string
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, text, got)
}

func TestProgressIsShownOnceItTakesLong(t *testing.T) {
	now := time.Unix(0, 0)
	clock := func() time.Time { return now }
	var out bytes.Buffer
	w := NewWriter(&out)
	show, done := w.Progress(clock)
	now = now.Add(quiet)
	show("not a terminal")
	done()
	require.Empty(t, out.String())

	show, done = w.progress(clock)
	show("listed 500 VMIs")
	done()
	require.Empty(t, out.String(), "nothing within the first second")

	show, done = w.progress(clock)
	now = now.Add(quiet)
	show("listed 1000 VMIs\x1b")
	show("listed 1500 VMIs") // too soon after the last
	now = now.Add(step)
	show("read 10 of 2000 VMIs")
	done()
	require.Equal(t, "\r\x1b[Klisted 1000 VMIs\\u001b\r\x1b[Kread 10 of 2000 VMIs\r\x1b[K", out.String())
}

// FuzzLine: a line has no control character and a bounded length.
func FuzzLine(f *testing.F) {
	f.Add(strings.Repeat("\x1b", longest))
	f.Add("a\n\x1b[2J\u202e\xff\U000e0041")
	f.Fuzz(func(t *testing.T, text string) {
		line := Line(text)
		require.Equal(t, line, Line(line), "what is escaped stays as it is")
		require.LessOrEqual(t, utf8.RuneCountInString(line), longest)
		for _, r := range line {
			require.True(t, r >= ' ' && r != 0x7f, "%q", line)
		}
	})
}
