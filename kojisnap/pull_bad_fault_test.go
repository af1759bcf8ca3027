package kojisnap_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/relation"
)

// goodBuilds are the builds tagged in badTag's scope, in the order in which they are asked for.
func goodBuilds(t *testing.T) []int64 {
	t.Helper()
	c, _ := production(t, hubtest.Options{})
	var ids []int64
	at := relation.Get("tag_listing").Index("build_id")
	for _, row := range snapshotRows(t, pull(t, c, newStore(t), lastEvent, badTag), "tag_listing") {
		ids = append(ids, number(strings.Split(row, "\t")[at]))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// faulty raises a fault for some calls of a method with a number as their first argument.
type faulty struct {
	mu     sync.Mutex
	method string
	id     int64
	fault  *hubtest.Fault
	times  int // how often; below 0: ever again
	raised int
}

func (f *faulty) raise(method string, args []any) *hubtest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if method != f.method || len(args) == 0 || fmt.Sprint(args[0]) != fmt.Sprint(f.id) || f.times == 0 {
		return nil
	}
	f.times--
	f.raised++
	return f.fault
}

var (
	offlineFault = &hubtest.Fault{Code: 1014, Class: "koji.ServerOffline", Text: "database outage"}
	genericFault = &hubtest.Fault{Code: 1000, Class: "koji.GenericError", Text: "No such thing"}
	otherFault   = &hubtest.Fault{Code: 1, Class: "psycopg2.errors.QueryCanceled", Text: "canceling statement"}
	loginFault   = &hubtest.Fault{Code: 1004, Class: "koji.ActionNotAllowed", Text: "permission denied"}
	retryFault   = &hubtest.Fault{Code: 1009, Class: "koji.RetryError", Text: "unable to retry call 7"}
)

// TestPullFaultInMulticall lets one call of a multicall answer a fault: the first, one in the
// middle or the last. What passes is asked again, what does not names the call and the fault.
func TestPullFaultInMulticall(t *testing.T) {
	t.Parallel()
	builds := goodBuilds(t)
	if len(builds) < 3 {
		t.Fatalf("%d builds", len(builds))
	}
	places := map[string]int64{"first": builds[0], "middle": builds[len(builds)/2], "last": builds[len(builds)-1]}
	for place, id := range places {
		methods := []string{"getBuild"}
		if place == "middle" {
			methods = append(methods, "getBuildType", "listRPMs")
		}
		for _, method := range methods {
			t.Run(fmt.Sprint(place, " ", method, " offline, then back"), func(t *testing.T) {
				f := &faulty{method: method, id: id, fault: offlineFault, times: 3}
				p, _ := badHub(t, hubtest.Options{Fault: f.raise})
				badPull{client: through(t, p, eager), store: newStore(t)}.good(t)
				if f.raised != 3 {
					t.Errorf("raised %d times", f.raised)
				}
			})
		}
		for _, test := range []struct {
			fault     *hubtest.Fault
			says      []string
			temporary bool
		}{
			{offlineFault, []string{fmt.Sprintf("getBuild(%d)", id), "the hub is offline: fault 1014: database outage"}, true},
			{genericFault, []string{fmt.Sprintf("build %d: getBuild(%d): fault 1000: No such thing", id, id)}, false},
			{otherFault, []string{fmt.Sprintf("build %d: getBuild(%d): fault 1: ", id, id), "canceling statement"}, false},
			{loginFault, []string{fmt.Sprintf("getBuild(%d): fault 1004: permission denied", id)}, false},
			{retryFault, []string{fmt.Sprintf("getBuild(%d): fault 1009: unable to retry call 7", id)}, false},
		} {
			t.Run(fmt.Sprint(place, " fault ", test.fault.Code), func(t *testing.T) {
				f := &faulty{method: "getBuild", id: id, fault: test.fault, times: -1}
				p, _ := badHub(t, hubtest.Options{Fault: f.raise})
				err := badPull{client: through(t, p, eager), store: newStore(t)}.bad(t, test.says...)
				if hub.Temporary(err) != test.temporary {
					t.Errorf("temporary %v: %v", hub.Temporary(err), err)
				}
			})
		}
	}
}

// TestPullFaultOfInheritance has faults in the one multicall whose results are not streamed.
func TestPullFaultOfInheritance(t *testing.T) {
	t.Parallel()
	var tag int64
	for _, r := range readTSV(t, "tag") {
		if r["name"] == badTag {
			tag = number(r["id"])
		}
	}
	f := &faulty{method: "getInheritanceData", id: tag, fault: offlineFault, times: 3}
	p, _ := badHub(t, hubtest.Options{Fault: f.raise})
	badPull{client: through(t, p, eager), store: newStore(t)}.good(t)
	if f.raised != 3 {
		t.Errorf("raised %d times", f.raised)
	}
	// Koji's answer about a tag that was deleted in between.
	f = &faulty{method: "getInheritanceData", id: tag, times: -1,
		fault: &hubtest.Fault{Code: 1000, Class: "koji.GenericError", Text: fmt.Sprintf("No such tagInfo: %d", tag)}}
	p, _ = badHub(t, hubtest.Options{Fault: f.raise})
	err := badPull{client: through(t, p, eager), store: newStore(t)}.bad(t,
		fmt.Sprintf("inheritance of tag %d: getInheritanceData(%d, 419): fault 1000: No such tagInfo: %d", tag, tag, tag))
	if hub.Temporary(err) {
		t.Errorf("temporary: %v", err)
	}
}
