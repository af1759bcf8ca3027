package tagged

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// open is a filter that cannot be evaluated.
const open = `\N{DIGIT ONE}`

// TestUndecided tries every combination of results of the filters that cannot be evaluated, each as one
// case. A build must be reported as in the tag if it is in it in all cases, as not in it if in none, and
// as undecided if the cases differ. It may be undecided without need, if two paths depend on one filter,
// but only rarely.
func TestUndecided(t *testing.T) {
	seedtest.Each(t, []uint64{1, 2, 3}, func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		undecided, decided, needless := 0, 0, 0
		for range 1000 {
			tags := makeTags(rnd)
			got := map[int64]verdict{}
			builds, unknowns := tags.view(nil).Builds(1, true, true)
			for _, b := range builds {
				got[b.PackageID] = yes
			}
			for _, u := range unknowns {
				if u.Filter != open || u.Tag != "tag1" || u.Reason == "" || u.Refused {
					t.Errorf("%+v", u)
				}
				for _, b := range u.Builds {
					got[b.PackageID] = unknown
				}
			}
			in, cases := map[int64]int{}, 0
			at := map[int64]Build{}
			for c := range 1 << len(tags.open) {
				builds, unknowns := tags.view(func(i int) bool { return c>>i&1 == 1 }).Builds(1, true, true)
				if len(unknowns) > 0 {
					t.Fatalf("undecided where all is known: %+v", unknowns)
				}
				for _, b := range builds {
					in[b.PackageID]++
					at[b.PackageID] = b
				}
				cases++
			}
			for pkg := range int64(packageCount) {
				want := unknown
				switch in[pkg] {
				case 0:
					want = no
				case cases:
					want = yes
				}
				switch {
				case got[pkg] == want && want == unknown:
					undecided++
				case got[pkg] == want:
					decided++
				case got[pkg] == unknown:
					needless++
				default:
					t.Errorf("package %d: %v, but it is in %d of %d cases: %+v", pkg, got[pkg], in[pkg], cases, tags)
				}
			}
			for _, u := range unknowns {
				builds = append(builds, u.Builds...)
			}
			for _, b := range builds {
				if there, ok := at[b.PackageID]; ok && b != there {
					t.Errorf("build %+v, in the cases %+v", b, at[b.PackageID])
				}
			}
		}
		if undecided < 100 || decided < 2000 || needless > decided/100 {
			t.Errorf("%d undecided, %d decided, %d undecided without need", undecided, decided, needless)
		}
	})
}

const packageCount = 3

// tags are a small inheritance: tag 1 is the one asked for.
type tags struct {
	links    [][3]any // child, parent, filter
	open     []int    // of the links, those whose filter cannot be evaluated
	packages map[int64]map[int64]bool
	listing  map[int64][]tagging
}

func makeTags(rnd *rand.Rand) tags {
	ts := tags{packages: map[int64]map[int64]bool{}, listing: map[int64][]tagging{}}
	const count = 4
	for child := int64(1); child < count; child++ {
		for parent := child + 1; parent <= count; parent++ {
			if rnd.IntN(2) == 0 {
				continue
			}
			filter := []string{"", "", "p[01]", open}[rnd.IntN(4)]
			if filter == open {
				ts.open = append(ts.open, len(ts.links))
			}
			ts.links = append(ts.links, [3]any{child, parent, filter})
		}
	}
	for tag := int64(1); tag <= count; tag++ {
		ts.packages[tag] = map[int64]bool{}
		for pkg := range int64(packageCount) {
			if rnd.IntN(3) == 0 {
				ts.packages[tag][pkg] = rnd.IntN(3) == 0
			}
			if rnd.IntN(2) == 0 {
				ts.listing[tag] = append(ts.listing[tag], tagging{event: 9 - pkg, build: 10*tag + pkg})
			}
		}
	}
	return ts
}

// view has a filter that matches all or nothing for each that cannot be evaluated, as lets says; nil:
// those as they are.
func (ts tags) view(lets func(i int) bool) *View {
	v := &View{Names: map[int64]string{}, Packages: map[int64]string{}, links: map[int64][]link{}, packages: ts.packages, listing: ts.listing, builds: map[int64]*Build{}}
	for tag := range int64(5) {
		v.Names[tag] = fmt.Sprint("tag", tag)
		for pkg := range int64(packageCount) {
			v.builds[10*tag+pkg] = &Build{ID: 10*tag + pkg, PackageID: pkg, State: Complete}
		}
	}
	for pkg := range int64(packageCount) {
		v.Packages[pkg] = fmt.Sprint("p", pkg)
	}
	for i, l := range ts.links {
		filter := l[2].(string)
		if at := slices.Index(ts.open, i); at >= 0 && lets != nil {
			filter = map[bool]string{true: ".*", false: "(?!)"}[lets(at)]
		}
		child, parent := l[0].(int64), l[1].(int64)
		v.links[child] = append(v.links[child], link{parent: parent, maxdepth: unlimited, filter: newFilter(child, parent, filter)})
	}
	return v
}
