package terminal

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/term"
)

// Writer is standard output or standard error. It has no Write method, so that fmt.Fprintf cannot print a value that is
// not escaped.
type Writer struct {
	out      io.Writer
	coloured bool
}

// NewWriter returns a Writer to out, without colours.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// AllowColours shows colours if out is a terminal, unless the user's environment refuses them (https://no-color.org).
func (w *Writer) AllowColours(environment func(string) string) {
	w.coloured = w.isTerminal() && environment("NO_COLOR") == "" && environment("TERM") != "dumb" && runtime.GOOS != "windows" // its old console shows the codes
}

func (w *Writer) isTerminal() bool {
	file, ok := w.out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Colour is a parameter of ECMA-48's SGR.
type Colour int

// The colours.
const (
	Red    Colour = 31
	Green  Colour = 32
	Yellow Colour = 33
)

// Coloured is an argument of Printf, for %s, that has a colour where colours are allowed.
type Coloured struct {
	Text   string
	Colour Colour
}

// Printf prints like fmt.Printf, with each argument on one line (see Line). The format must be a constant: its line ends
// stay.
func (w *Writer) Printf(format string, args ...any) error {
	safe := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case int, bool:
			safe[i] = arg
		case Coloured:
			safe[i] = Line(arg.Text)
			if w.coloured {
				safe[i] = fmt.Sprintf("\x1b[%dm%s\x1b[0m", arg.Colour, Line(arg.Text))
			}
		default:
			safe[i] = Line(fmt.Sprint(arg))
		}
	}
	_, err := fmt.Fprintf(w.out, format, safe...)
	return err
}

// Filter is for libraries that need an io.Writer, such as cobra and kubectl's printers. It escapes everything but tabs
// and line ends. Clean the values first, or theirs are printed too. A write must contain whole characters.
func (w *Writer) Filter() io.Writer { return filter{w.out} }

type filter struct{ out io.Writer }

// Write implements io.Writer.
func (f filter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(f.out, escape(string(p), "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Buffered calls print with a Filter that writes to the output in large pieces: a printer of tables writes each cell by
// itself.
func (w *Writer) Buffered(print func(io.Writer) error) error {
	buffer := bufio.NewWriter(w.out)
	err := print(filter{buffer})
	return cmp.Or(err, buffer.Flush())
}

// clearLine moves to the beginning of the line and clears it (ECMA-48, EL).
const clearLine = "\r\x1b[K"

const (
	// quiet is how long a command may take before it shows its progress.
	quiet = time.Second
	// step is the least time between two changes of what is shown.
	step = 100 * time.Millisecond
)

// Progress returns show, which shows text on a line that replaces the last one, once the command takes longer than a
// second, and done, which removes the line. Show may be called from many goroutines; now is the clock. If no person watches,
// nothing is shown.
func (w *Writer) Progress(now func() time.Time) (show func(string), done func()) {
	if !w.isTerminal() {
		return func(string) {}, func() {}
	}
	return w.progress(now)
}

func (w *Writer) progress(now func() time.Time) (show func(string), done func()) {
	var mu sync.Mutex
	next, shown := now().Add(quiet), false
	show = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if at := now(); !at.Before(next) {
			next, shown = at.Add(step), true
			_, _ = io.WriteString(w.out, clearLine+Line(text)) // the command goes on if the terminal is gone
		}
	}
	done = func() {
		if shown {
			_, _ = io.WriteString(w.out, clearLine)
		}
	}
	return show, done
}
