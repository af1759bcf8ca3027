package ops_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// block is a fenced block of a guide. Its info string says what the guide does with it: "sh host debian 3" is for root's
// shell on the host, where that is a Debian, and ends with exit code 3; "toml FILE" is the file FILE.
type block struct {
	page  string
	words []string // of the info string
	text  string
	exit  int
}

var fence = regexp.MustCompile("(?ms)^```([^\n]+)\n(.*?)^```$")

// guide returns the blocks of a page that has an info string of more than one word, in their order.
func guide(t *testing.T, page string) (blocks []block) {
	t.Helper()
	for _, m := range fence.FindAllStringSubmatch(read(t, scripts+"/guide/"+page), -1) {
		b := block{page: page, words: strings.Fields(m[1]), text: m[2]}
		if len(b.words) < 2 {
			continue
		}
		if n, err := strconv.Atoi(b.words[len(b.words)-1]); err == nil {
			b.exit, b.words = n, b.words[:len(b.words)-1]
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block to run", page)
	}
	return blocks
}

// forHost reports whether a block is for the shell of a host of which these words are true, as debian and cron.
func (b block) forHost(is ...string) bool {
	if b.words[0] != "sh" || b.words[1] != "host" {
		return false
	}
	for _, word := range b.words[2:] {
		if !strings.Contains(" "+strings.Join(is, " ")+" ", " "+word+" ") {
			return false
		}
	}
	return true
}
