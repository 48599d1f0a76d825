package main

// What a server writes without being asked: notifications, and requests of its
// own to the client (SPEC §9).

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// session is the revision of what answers no request.
func (c *messageCheck) session() string {
	if c.revision == "" && c.stateless {
		return modern
	}
	return c.revisionOf(nil)
}

// serverRequest checks a request to the client; 2026-07-28 has none.
func (c *messageCheck) serverRequest(m map[string]any) error {
	s, err := schemaFor(c.session())
	if err != nil {
		return err
	}
	method, _ := m["method"].(string)
	id := idKey(m["id"])
	switch {
	case s.requests[method] == "":
		return fmt.Errorf("revision %s has no request %q to the client", s.revision,
			cut(method, 64))
	case id == "":
		return errors.New("the id is no string and no integer")
	case c.asked[id]:
		return errors.New("an id that the server has used before")
	}
	c.asked[id] = true
	return s.valid(s.requests[method], m)
}

// notification checks one, in the revision of the request that it is about.
func (c *messageCheck) notification(m map[string]any) error {
	method, _ := m["method"].(string)
	params := objectAt(m, "params")
	revision := c.session()
	subscription, tagged := objectAt(params, "_meta")[metaSubscription]
	switch {
	case method == "notifications/progress":
		r, err := c.progressOf(params)
		if err != nil {
			return err
		}
		revision = c.revisionOf(r)
	case tagged:
		r, err := c.subscriptionOf(subscription, method)
		if err != nil {
			return err
		}
		revision = c.revisionOf(r)
	}
	s, err := schemaFor(revision)
	if err != nil {
		return err
	}
	if s.notices[method] == "" {
		return fmt.Errorf("revision %s has no notification %q of the server", s.revision,
			cut(method, 64))
	}
	if !tagged && revision == modern && (strings.HasSuffix(method, "_changed") ||
		strings.HasPrefix(method, "notifications/subscriptions/") ||
		method == "notifications/resources/updated") {
		return fmt.Errorf("%s without the id of its subscription", method)
	}
	return s.valid(s.notices[method], m)
}

// progressOf finds the request that progress is about: notifications "MUST only
// reference tokens that were provided in an active request", and "the progress
// value MUST increase with each notification".
func (c *messageCheck) progressOf(params map[string]any) (*openRequest, error) {
	token := idKey(params["progressToken"])
	progress, isNumber := params["progress"].(json.Number)
	err := errors.New("progress with a token that no open request gave")
	for _, open := range c.open {
		for _, r := range open {
			if token == "" || r.token != token {
				continue
			}
			if isNumber && r.progress != "" &&
				parseDecimal(progress).compare(parseDecimal(r.progress)) <= 0 {
				err = errors.New("progress that does not increase")
				continue // a token that was given twice may be the other's
			}
			r.progress = progress
			return r, nil
		}
	}
	return nil, err
}

// subscriptionOf finds the subscription that a notification belongs to. The
// acknowledgement comes first, and once.
func (c *messageCheck) subscriptionOf(id any, method string) (*openRequest, error) {
	open := c.open[idKey(id)]
	acknowledges := method == "notifications/subscriptions/acknowledged"
	listens := func(r *openRequest) bool { return r.method == "subscriptions/listen" }
	i := slices.IndexFunc(open, func(r *openRequest) bool {
		return listens(r) && r.acknowledged != acknowledges && c.revisionOf(r) == modern
	})
	if i < 0 {
		i = slices.IndexFunc(open, listens)
	}
	if i < 0 {
		return nil, errors.New("a notification of a subscription that does not exist")
	}
	if acknowledges == open[i].acknowledged {
		return nil, errors.New("a subscription is acknowledged first, and once")
	}
	open[i].acknowledged = true
	return open[i], nil
}
