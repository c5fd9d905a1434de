package terminal

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Writer is standard output or standard error. It has no Write method, so that fmt.Fprintf cannot print a value that is
// not escaped.
type Writer struct{ out io.Writer }

// NewWriter writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out} }

// Printf prints like fmt.Printf, with each argument on one line (see Line). The format must be a constant: its line ends
// stay.
func (w *Writer) Printf(format string, args ...any) error {
	safe := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case int, bool:
			safe[i] = arg
		default:
			safe[i] = Line(fmt.Sprint(arg))
		}
	}
	_, err := fmt.Fprintf(w.out, format, safe...)
	return err
}

// Filter is for libraries that want an io.Writer, such as cobra and kubectl's printers. It escapes everything but line
// ends. Values must have been through Clean, or their line ends would be printed too. A write must hold whole characters.
func (w *Writer) Filter() io.Writer { return filter{w.out} }

type filter struct{ out io.Writer }

// Write implements io.Writer.
func (f filter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(f.out, escape(string(p), "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// IsTerminal says whether a person reads it as it is written.
func (w *Writer) IsTerminal() bool {
	file, ok := w.out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// clearLine moves to the beginning of the line and clears it (ECMA-48, EL).
const clearLine = "\r\x1b[K"

// Status shows text in place of the last status, on a line that is not ended. An empty text clears it.
func (w *Writer) Status(text string) error {
	_, err := io.WriteString(w.out, clearLine+Line(text))
	return err
}
