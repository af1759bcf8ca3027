// Package seedtest runs randomised tests: the same way every time, unless one asks for other
// seeds.
package seedtest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Env names the variable of the environment that replaces the seeds of all randomised tests: a
// number, or the first and the last of a range, as in KOJISNAP_SEED=100-299.
const Env = "KOJISNAP_SEED"

// Each runs a test for each of its fixed seeds, or for those that Env names, as subtests that are
// called after the seed. A seed that once failed belongs to the fixed ones.
func Each(t *testing.T, fixed []uint64, test func(t *testing.T, seed uint64)) {
	t.Helper()
	seeds, err := parse(os.Getenv(Env), fixed)
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Logf("%s=%d", Env, seed)
			test(t, seed)
		})
	}
}

func parse(text string, fixed []uint64) ([]uint64, error) {
	if text == "" {
		return fixed, nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 63)
	to, err2 := strconv.ParseUint(last, 10, 63)
	if err != nil || err2 != nil || from > to {
		return nil, fmt.Errorf("%s=%s: not a number below 2^63, nor a range of such as in 100-299", Env, text)
	}
	var seeds []uint64
	for seed := from; seed <= to; seed++ {
		seeds = append(seeds, seed)
	}
	return seeds, nil
}
