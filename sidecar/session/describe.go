package session

import (
	"context"
	"fmt"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// publish reports the states with what is known of each domain.
func (w *watch) publish() {
	var o hypervisor.Observation
	waiting := false
	for i, domain := range w.domains {
		id := idOf(domain)
		o.Domains = append(o.Domains, hypervisor.Domain{Name: domain.Name, ID: id, State: w.states[i], Description: w.session.known[id]})
		waiting = waiting || w.session.known[id] == nil
	}
	switch {
	case !waiting:
		w.patience = nil
	case w.patience == nil:
		w.patience = time.After(w.session.config.Timeout)
	}
	w.session.sink.Observed(o)
}

// ask asks for the XML of one domain: one of which nothing is known, or else one that
// is stale. No more than one question is open, so that a libvirt which has no worker
// for it holds no more than one.
func (w *watch) ask() error {
	if w.open || len(w.domains) > maxLooks {
		return nil
	}
	next := -1
	for i, domain := range w.domains {
		id := idOf(domain)
		if w.session.known[id] == nil {
			next = i
			break
		}
		if w.stale[id] {
			next = i
		}
	}
	if next < 0 {
		return nil
	}
	w.asked, w.open = idOf(w.domains[next]), true
	delete(w.stale, w.asked)
	return w.c.guard.AskXML(w.domains[next])
}

// take takes libvirt's answer. A refusal changes nothing that is known.
func (w *watch) take(ctx context.Context, answer xmlAnswer) error {
	w.open = false
	known := w.session.known
	switch {
	case !w.listed(w.asked):
	case answer.refusal == nil:
		known[w.asked] = answer.description
	case known[w.asked] == nil:
		known[w.asked] = &hypervisor.Description{Err: fmt.Errorf("%w: %w", hypervisor.ErrNoAnswer, answer.refusal)}
	}
	if answer.refusal != nil {
		return w.look(ctx) // the domain may have gone
	}
	w.publish()
	return w.ask()
}

// losePatience shows a domain as unknown if libvirt does not answer for it. The answer may
// still come; one that is coming in, or has come and was not taken yet, is waited for.
func (w *watch) losePatience(ctx context.Context) error {
	if w.c.guard.ReadsXML() || len(w.c.guard.xml) > 0 {
		w.patience = time.After(w.session.config.Timeout)
		return nil
	}
	w.patience = nil
	w.giveUp(fmt.Errorf("%w within %v", hypervisor.ErrNoAnswer, w.session.config.Timeout))
	return w.look(ctx)
}

// giveUp records the error for each domain of which nothing is known; it is asked for
// again unless that question is open.
func (w *watch) giveUp(err error) {
	for _, domain := range w.domains {
		if id := idOf(domain); w.session.known[id] == nil {
			w.session.known[id] = &hypervisor.Description{Err: err}
			if !w.open || id != w.asked {
				w.stale[id] = true
			}
		}
	}
}

// allStale marks each domain, so that its XML is asked for again; the last answer is valid until then.
func (w *watch) allStale() {
	for _, domain := range w.domains {
		w.stale[idOf(domain)] = true
	}
}

func (w *watch) listed(id hypervisor.DomainID) bool {
	for _, domain := range w.domains {
		if idOf(domain) == id {
			return true
		}
	}
	return false
}

func idOf(domain libvirt.Domain) hypervisor.DomainID {
	return hypervisor.DomainID{UUID: domain.UUID, Number: domain.ID}
}
