package serving

import (
	"context"
	"io"
	"net/http"
	"time"
)

// connKey finds a request's connection in its context.
type connKey struct{}

// Trust marks the request's connection as one that has shown a right to be here, such as
// a token that is allowed. The server never closes it to make room for another. Without
// effect where Limits.Trusted are trusted already, or the request does not come from a
// server of this package.
func Trust(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.limiter.trust(c)
	}
}

// guard wraps the handler. It bounds what a request's body can hold: net/http
// would wait for a body that no one reads before it sends the answer, and again after.
type guard struct {
	next http.Handler
	// bodyDue reports whether the request may have a body; nil is never.
	bodyDue func(*http.Request) bool
}

// ServeHTTP implements http.Handler.
func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok || !c.limiter.works(c) {
		panic(http.ErrAbortHandler) // evicted: no one would read the answer
	}
	if r.ContentLength == 0 {
		g.next.ServeHTTP(w, r)
		return
	}
	body := &body{ReadCloser: r.Body, conn: c, left: r.ContentLength}
	answer := &answer{ResponseWriter: w, body: body}
	if g.bodyDue == nil || !g.bodyDue(r) {
		http.Error(answer, "a request must have no body here", http.StatusBadRequest)
		return
	}
	r = r.WithContext(r.Context()) // a copy: the http.Server uses the body of its own
	r.Body = body
	g.next.ServeHTTP(answer, r)
	answer.abandonBody()
}

// A body is a request's body. While a read of it waits for the client, its connection
// is not busy.
type body struct {
	io.ReadCloser
	conn *conn
	// left is how many bytes have not been read, or -1 if that is unknown.
	left int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.conn.limiter.waits(b.conn)
	n, err := b.ReadCloser.Read(p)
	if !b.conn.limiter.works(b.conn) && err == nil {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case err == io.EOF:
		b.left = 0
	case b.left > 0:
		b.left -= int64(n)
	}
	return n, err
}

// An answer to a request with a body ends the connection if it begins before the body
// has been read.
type answer struct {
	http.ResponseWriter
	body *body
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if code >= http.StatusOK {
		a.abandonBody()
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.abandonBody()
	return a.ResponseWriter.Write(p)
}

// Unwrap lets an http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// abandonBody makes the http.Server close the connection after the answer, and read the
// rest of the body only as far as it is here already.
func (a *answer) abandonBody() {
	if a.body.left == 0 {
		return
	}
	a.body.left = 0
	a.Header().Set("Connection", "close")
	// Fails where the connection is gone.
	_ = http.NewResponseController(a.ResponseWriter).SetReadDeadline(time.Unix(1, 0))
	a.body.conn.limiter.waits(a.body.conn)
}

// withConn is for the http.Server's ConnContext.
func withConn(ctx context.Context, c *conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
