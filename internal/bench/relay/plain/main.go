// Plain is the least that a server of a page can be with Go's net/http: it answers
// everything with the same bytes. What it costs to be woken up for that, at the rate
// at which a node's VMs are scraped, is the machine's part of the relay's cost.
//
//	plain ADDRESS PAGE [CERTIFICATE KEY]
package main

import (
	"log"
	"net/http"
	"os"
	"strconv"
)

func main() {
	page, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	length := strconv.Itoa(len(page))
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(page) // whoever asked may have gone
	})
	if len(os.Args) > 4 {
		log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[3], os.Args[4], handler))
	}
	log.Fatal(http.ListenAndServe(os.Args[1], handler))
}
