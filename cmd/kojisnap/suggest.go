package main

import (
	"slices"
	"strings"
)

// suggest is a hint at the word that was meant, " (did you mean …?)", or nothing if none is near.
func suggest(word string, words []string) string {
	const far = 3
	best, least := "", far
	for _, w := range words {
		if d := distance(word, w); d < least && d < len(w) {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// distance is how many letters are to be inserted, left out, replaced, or exchanged with the next, to make
// one word of the other.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// sectionsWith is where in the configuration a key belongs, as text: "in [pull] or [verify]".
func sectionsWith(key string) string {
	common := newFlags("")
	new(app).addFlags(common)
	if common.set.Lookup(key) != nil {
		return "at the top level"
	}
	var all []string
	for _, cmd := range commands() {
		f := newFlags(cmd.name)
		cmd.setup(f)
		for section, part := range f.parts {
			if name := "[" + section + "]"; part.Lookup(key) != nil && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	switch n := len(all); n {
	case 0:
		return ""
	case 1:
		return "in " + all[0]
	default:
		return "in " + strings.Join(all[:n-1], ", ") + " or " + all[n-1]
	}
}
