// Package seedtest says how much of a long test runs. There is a short form, for people who wait, and
// a long form. Randomised tests have fixed seeds; Env chooses others.
package seedtest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Env names the variable of the environment that replaces the seeds of all randomised tests: a
// number, or the first and the last of a range, as in KOJISNAP_SEED=100-299.
const Env = "KOJISNAP_SEED"

// EnvLong names the variable of the environment that, if it is not empty, selects the long form.
// scripts/test --long sets it.
const EnvLong = "KOJISNAP_TEST_LONG"

// Long reports whether the long form runs.
func Long() bool { return os.Getenv(EnvLong) != "" }

// Some returns the cases of a test that run: all of them in the long form; in the short form n of
// them, evenly spread, with the first and the last.
func Some[T any](cases []T, n int) []T {
	if Long() || n >= len(cases) {
		return cases
	}
	if n < 2 {
		return cases[:n]
	}
	some := make([]T, n)
	for i := range some {
		some[i] = cases[i*(len(cases)-1)/(n-1)]
	}
	return some
}

// SomeKeys returns the names, sorted, of the cases of a test that run: as Some chooses them.
func SomeKeys[T any](cases map[string]T, n int) []string {
	return Some(slices.Sorted(maps.Keys(cases)), n)
}

// SomeOf is Some of the cases of a map, in the order of their names.
func SomeOf[T any](cases map[string]T, n int) map[string]T {
	some := map[string]T{}
	for _, name := range SomeKeys(cases, n) {
		some[name] = cases[name]
	}
	return some
}

// shortSeeds is how many of a test's fixed seeds the short form runs.
const shortSeeds = 1

// Each runs a test for each of its fixed seeds (in the short form the first), or for those that
// Env names, as subtests that are called after the seed. A seed that once failed belongs to the
// fixed ones.
func Each(t *testing.T, fixed []uint64, test func(t *testing.T, seed uint64)) {
	t.Helper()
	if !Long() {
		fixed = fixed[:min(shortSeeds, len(fixed))]
	}
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
		return nil, fmt.Errorf("%s=%s: neither a number below 2^63 nor a range of numbers such as 100-299", Env, text)
	}
	var seeds []uint64
	for seed := from; seed <= to; seed++ {
		seeds = append(seeds, seed)
	}
	return seeds, nil
}
