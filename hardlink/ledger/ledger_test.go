package ledger_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/ledger/ledgertest"
)

func TestNoLedgerIsAnEmptyOne(t *testing.T) {
	l, err := ledger.Read(t.TempDir())
	if err != nil || len(l.Builds)+len(l.Links)+len(l.Staged()) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// Hostile names in a ledger are refused, so that they do not become paths.
func TestLedgerWithHostileNames(t *testing.T) {
	for _, line := range []string{
		"B\tstaged\t..\t1\t1", "B\t../..\tx\t1\t1", "B\tstaged\tx\t1\t1\nF\t../../x\t1\t1\tmd5:00",
		"B\tstaged\tx\t1\t1\nS\t/etc/passwd\tx", "K\t../x\ty", "B\tstaged\tx\t1\t1\nN\t..\tmd5:00",
		"K\tx\ty\nL\t2", "L\t1", "L\t-1", "L\tx", "B\tstaged\tx\t1\t1\nU\tsoon", "U\t1", "W", "F\ta\t1\t1\tx", "Q", "B\ta",
	} {
		_, err := ledger.Parse(strings.NewReader(ledgertest.Text(ledger.Format, strings.Split(line, "\n"))))
		if !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%q: error %v", line, err)
		}
	}
}

// A ledger that Parse accepts reads the same in its shortest form.
func FuzzLedger(f *testing.F) {
	for _, lines := range []string{
		"B\tstaged\tx\t1\t1\nF\ta\t1\t2\tmd5:00\nS\tb\tc\nN\td\tmd5:01\nC\nU\t7",
		"B\tstaged\tx\t1\t1\nF\tb\t1\t2\tmd5:00\nF\ta\t1\t2\tmd5:00\nF\ta\t3\t2\tmd5:00\nW\nC\nR",
		"K\ta\tb\nK\tc\td\nL\t1\nk\ta\nK\tc\te", "K\ta\tb\nK\ta\tc\nL\t2\nX", "",
	} {
		f.Add(lines)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		l, err := ledger.Parse(strings.NewReader(ledgertest.Text(ledger.Format, strings.Split(lines, "\n"))))
		if err != nil {
			if !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("error %v", err)
			}
			return
		}
		var short, again strings.Builder
		l.WriteTo(&short)
		same, err := ledger.Parse(strings.NewReader(short.String()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, short.String())
		}
		same.WriteTo(&again)
		if short.String() != again.String() {
			t.Errorf("short form\n%s\nand again\n%s", short.String(), again.String())
		}
	})
}

// A build that was rewritten without some of its entries reads the same in each format.
func TestRewrittenBuildInEachFormat(t *testing.T) {
	for format := 1; format <= ledger.Format; format++ {
		lines := []string{"B\tstaged\ta\t1\t1", "F\tx\t1\t2\tmd5:0", "F\ty\t1\t2\tmd5:0", "C",
			"B\tstaged\tb\t1\t1", "F\tx\t1\t2\tmd5:0", "C",
			"B\tstaged\ta\t1\t1", "X", "B\tstaged\ta\t1\t1", "F\ty\t1\t2\tmd5:0", "C"}
		l, err := ledger.Parse(strings.NewReader(ledgertest.Text(format, lines)))
		if err != nil {
			t.Fatal(err)
		}
		for dir, path := range map[string]string{"vol/staged/packages/a/1/1": "y", "vol/staged/packages/b/1/1": "x"} {
			b := l.Builds[dir]
			if b == nil || !b.Complete || b.Pending || len(b.Entries) != 1 || b.Entries[0].Path != path {
				t.Errorf("format %d: %s is %+v", format, dir, b)
			}
		}
	}
}

// A D line removes the entries below a directory that a symlink has replaced. Without the line they stay.
func TestLedgerOfLinkedDirectory(t *testing.T) {
	lines := []string{"B\tstaged\tbash\t1\t1", "F\tx\t1\t1\td", "S\tdata/logs/a\t/a", "S\tdata/logs.old\t/b", "C", "S\tdata/logs\t/c"}
	for d, want := range map[string]int{"": 4, "D\tdata/logs": 3} {
		all := append(lines, "C")
		if d != "" {
			all = append(lines, d, "C")
		}
		text := ledgertest.Text(4, all)
		l, err := ledger.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range l.Builds {
			if len(b.Entries) != want || !b.Complete {
				t.Errorf("%q: %+v", d, b.Entries)
			}
		}
		var b bytes.Buffer
		_, err = l.WriteTo(&b)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ledger.Parse(&b); err != nil || len(again.Builds) != 1 {
			t.Errorf("%v", err)
		}
	}
}
