package pull_test

import (
	"bytes"
	"fmt"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/seedtest"
)

// TestPullCutOnce cuts replies at some offsets, in one try after the other, and in several pulls at different
// ones, also near the ends. The result is that of uncut replies. Package hub's tests cut a reply at each
// offset.
func TestPullCutOnce(t *testing.T) {
	t.Parallel()
	const (
		pulls  = 3
		tries  = 20 // how many tries of a request are cut
		places = pulls * tries
	)
	for _, pull := range seedtest.Some([]int{0, 1, 2}, 2) {
		t.Run(fmt.Sprint(pull), func(t *testing.T) {
			p, _ := badHub(t, hubtest.Options{})
			p.after = func(x *exchange) {
				try := p.tries(x)
				if try >= tries || x.method == "multiCall" && try > 0 {
					return // the rest of a multicall is another request
				}
				place := try*pulls + pull
				x.cut = len(x.body) * place / places
				if place%3 == 0 {
					x.cut = len(x.body) - 1 - place/3
				}
				x.reset = place%4 == 0
			}
			o := eager
			o.Retries = tries + 1
			badPull{client: through(t, p, o), store: pulltest.NewStore(t)}.good(t)
			if p.n < 3*tries {
				t.Errorf("%d requests", p.n)
			}
		})
	}
}

// TestPullCutPages cuts the pages of a table, whose rows are counted: repeated rows do not count twice.
func TestPullCutPages(t *testing.T) {
	ways := map[string]string{"build": "table", "rpminfo": "table", "rpmsigs": "table", "archiveinfo": "table"}
	for _, part := range []int{3, 9} {
		t.Run(fmt.Sprint(part, " tenths"), func(t *testing.T) {
			p, _ := badHub(t, hubtest.Options{})
			cut := 0
			p.after = func(x *exchange) {
				if bytes.Contains(x.asked, []byte("<name>asList</name>")) || x.method != "multiCall" && len(x.body) > 10_000 {
					if p.tries(x) == 0 {
						x.cut = len(x.body) * part / 10
						cut++
					}
				}
			}
			o := pull.Options{}.WithPager(pager.Options{Page: 100, Strategies: ways})
			badPull{through(t, p, eager), pulltest.NewStore(t), o}.good(t)
			if cut < 10 {
				t.Errorf("%d pages were cut", cut)
			}
		})
	}
}

// TestPullCutForEver: replies of one kind are always cut. The pull gives up with one line that names the
// call, and is a temporary error.
func TestPullCutForEver(t *testing.T) {
	t.Parallel()
	for method, says := range map[string]string{
		"getKojiVersion":     "call getKojiVersion: ",
		"getEvent":           "event 419: call getEvent: ",
		"getTag":             `tag "f42-infra": call getTag: `,
		"getInheritanceData": "inheritance: call multiCall of getInheritanceData(",
		"listBTypes":         "listBTypes: call listBTypes: ",
		"queryHistory":       "history of tag ",
		"getBuild":           " calls from getBuild",
		"listRPMs":           "listRPMs(",
		"queryRPMSigs":       "queryRPMSigs(",
		"listArchives":       "listArchives(",
		"listUsers":          "listUsers: call listUsers: ",
	} {
		for _, part := range []int{0, 60} {
			t.Run(fmt.Sprint(method, " ", part), func(t *testing.T) {
				p, _ := badHub(t, hubtest.Options{})
				p.after = func(x *exchange) {
					if x.calls(method) {
						x.cut = len(x.body) * part / 100
					}
				}
				b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}
				if err := b.bad(t, says); !hub.Temporary(err) {
					t.Errorf("not temporary: %v", err)
				}
				if part > 0 && (method == "queryHistory" || method == "listUsers") {
					p.between(func() { p.after = nil })
					b.good(t)
				}
			})
		}
	}
}
