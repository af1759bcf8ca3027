package config

// Suggest returns a hint at the word that was probably meant, " (did you mean …?)", or nothing if none is similar.
func Suggest(word string, words []string) string {
	if best := Nearest(word, words); best != "" {
		return " (did you mean " + best + "?)"
	}
	return ""
}

// Nearest returns the word that differs least from another one, by at most a third of its letters, or nothing.
func Nearest(word string, words []string) string {
	best, least := "", len([]rune(word))/3+1
	for _, w := range words {
		if d := distance([]rune(word), []rune(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is how many letters must be inserted, removed, replaced, or exchanged with the next one to make one
// word of the other.
func distance(a, b []rune) int {
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
