package pull_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
)

// TestPullTableMoves changes a table while it is read by pages, so that offsets move: rows before the read
// ones are added, read rows are deleted, or both at once.
func TestPullTableMoves(t *testing.T) {
	want, err := goodRelations(badTag)
	if err != nil {
		t.Fatal(err)
	}
	var outside []int64 // ids of rpms that are not in the scope, ascending
	c, _ := pulltest.Production(t, hubtest.Options{})
	snap := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, badTag)
	var in []int64
	for _, row := range pulltest.SnapshotRows(t, snap, "rpminfo") {
		in = append(in, number(strings.Split(row, "\t")[0]))
	}
	for _, row := range readTSV(t, "rpminfo") {
		if id := number(row["id"]); !slices.Contains(in, id) {
			outside = append(outside, id)
		}
	}
	slices.Sort(outside)
	comes := func(t *testing.T, rows *hubtest.Memory, n int64) {
		if err := rows.Insert("rpmsigs", hubtest.Values{"rpm_id": outside[0], "sigkey": fmt.Sprintf("%08x", n), "sighash": "0"}); err != nil {
			t.Error(err)
		}
	}
	goes := func(t *testing.T, rows *hubtest.Memory, at int) {
		if n, err := rows.Delete("rpmsigs", hubtest.Values{"rpm_id": outside[at]}); n == 0 || err != nil {
			t.Error(n, err)
		}
	}
	for name, change := range map[string]func(t *testing.T, rows *hubtest.Memory, page int64){
		"come": func(t *testing.T, rows *hubtest.Memory, page int64) { comes(t, rows, page) },
		"go":   func(t *testing.T, rows *hubtest.Memory, page int64) { goes(t, rows, int(page)) },
		"come for one": func(t *testing.T, rows *hubtest.Memory, page int64) {
			comes(t, rows, page)
			comes(t, rows, page+1000)
			goes(t, rows, 1+int(page))
		},
	} {
		for jobs, lasting := range map[int]bool{1: true, 4: false} {
			t.Run(fmt.Sprint(name, " jobs ", jobs, " lasting ", lasting), func(t *testing.T) {
				p, rows := badHub(t, hubtest.Options{})
				pages := int64(0)
				p.before = func(x *exchange) {
					if x.method == "queryRPMSigs" && bytes.Contains(x.asked, []byte("<name>asList</name>")) {
						if pages++; pages > 1 && (lasting || pages < 5) && pages < 100 {
							change(t, rows, pages)
						}
					}
				}
				o := eager
				o.Jobs = jobs
				opt := pull.Options{}.WithPager(pager.Options{Page: 40, Strategies: map[string]string{"rpmsigs": "table"}})
				got, err := badPull{through(t, p, o), pulltest.NewStore(t), opt}.relations()
				if err != nil {
					t.Fatal(err)
				}
				differ(t, got, want)
				if pages < 20 {
					t.Errorf("only %d pages", pages)
				}
			})
		}
	}
}

// TestPullPagesLie: the hub's pages are wrong: too short; one row too early, so that a row comes twice; or
// one row too late, so that a row is missing. If that happens once, the table is read again; if it always
// happens, the rows are read one by one. The tag's rows are the table's last ones.
func TestPullPagesLie(t *testing.T) {
	option := func(name string) *regexp.Regexp {
		return regexp.MustCompile(`<name>` + name + `</name>\s*<value>\s*<int>(\d+)</int>`)
	}
	type when func(page, offset int) bool
	once := func(page, _ int) bool { return page == 6 }
	last := func(_, offset int) bool { return offset >= 14*39 }
	always := func(_, offset int) bool { return offset > 0 }
	for name, lie := range map[string]struct {
		option string
		by     int
		when   map[string]when
	}{
		"short":   {"limit", -3, map[string]when{"once": once, "always": always}},
		"twice":   {"offset", -1, map[string]when{"once": once, "last": last}},
		"missing": {"offset", 1, map[string]when{"once": once, "always": always}},
		"capped":  {"limit", -36, map[string]when{"last": last, "always": always}},
	} {
		for which, when := range lie.when {
			t.Run(fmt.Sprint(name, " ", which), func(t *testing.T) {
				p, _ := badHub(t, hubtest.Options{})
				pages, lies := 0, 0
				p.before = func(x *exchange) {
					at := option("offset").FindSubmatch(x.asked)
					if x.method != "queryRPMSigs" || at == nil {
						return
					}
					if pages++; !when(pages, int(number(string(at[1])))) {
						return
					}
					lies++
					what := option(lie.option)
					was := string(what.FindSubmatch(x.asked)[1])
					x.asked = what.ReplaceAll(x.asked, fmt.Appendf(nil, "<name>%s</name><value><int>%d</int>", lie.option, int(number(was))+lie.by))
				}
				opt := pull.Options{Tags: []string{"f42"}}.WithPager(pager.Options{Page: 40, Strategies: map[string]string{"rpmsigs": "table"}})
				badPull{through(t, p, eager), pulltest.NewStore(t), opt}.good(t)
				if lies == 0 || pages < 6 {
					t.Errorf("%d of %d pages were wrong", lies, pages)
				}
			})
		}
	}
}

// TestPullPagesTwice: a page has a row twice in place of the next row, so that it begins and ends correctly.
func TestPullPagesTwice(t *testing.T) {
	row := regexp.MustCompile(`(?s)<value>\s*<array>\s*<data>\s*<value>.*?</data>\s*</array>\s*</value>`)
	for name, until := range map[string]int{"once": 1, "always": 1000} {
		t.Run(name, func(t *testing.T) {
			p, _ := badHub(t, hubtest.Options{})
			lies := 0
			p.after = func(x *exchange) {
				if x.method != "queryRPMSigs" || !bytes.Contains(x.asked, []byte("<name>asList</name>")) || lies == until {
					return
				}
				// The first row has the beginning of the outer array, so it stays.
				if at := row.FindAllIndex(x.body, 4); len(at) == 4 {
					lies++
					x.body = slices.Concat(x.body[:at[2][0]], x.body[at[1][0]:at[1][1]], x.body[at[2][1]:])
				}
			}
			opt := pull.Options{Tags: []string{"f42"}}.WithPager(pager.Options{Page: 40, Strategies: map[string]string{"rpmsigs": "table"}})
			badPull{through(t, p, eager), pulltest.NewStore(t), opt}.good(t)
			if lies == 0 {
				t.Error("no row came twice")
			}
		})
	}
}

// TestPullNoFirstRow: the names of a table's columns come from one row, and the hub answers something else
// than a row. A reply without rows is no such answer.
func TestPullNoFirstRow(t *testing.T) {
	limit1 := regexp.MustCompile(`<name>limit</name>\s*<value>\s*<int>1</int>`)
	for name, value := range map[string]string{"nil": "<nil/>", "text": "<string>text</string>", "a row of text": "<array><data><value>text</value></data></array>"} {
		t.Run(name, func(t *testing.T) {
			p, _ := badHub(t, hubtest.Options{})
			lies := 0
			p.after = func(x *exchange) {
				if x.method == "queryRPMSigs" && limit1.Match(x.asked) {
					lies++
					x.body = reply(value)
				}
			}
			opt := pull.Options{Tags: []string{"f42"}}.WithPager(pager.Options{Strategies: map[string]string{"rpmsigs": "table"}})
			badPull{through(t, p, eager), pulltest.NewStore(t), opt}.bad(t, "queryRPMSigs", "the first row", "not an array of structs")
			if lies == 0 {
				t.Error("the hub did not lie")
			}
		})
	}
}
