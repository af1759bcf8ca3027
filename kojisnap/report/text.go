package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/report/markup"
	"kojisnap/kojisnap/verify"
)

// shownSyncs is how many syncs the text has; JSON has all.
const shownSyncs = 10

// WriteText writes the report as text. It has the same facts as the page, without the charts.
func (f *Facts) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "kojisnap %s, report of %s\n", markup.Visible(f.Version), minute(f.Made))
	for i := range f.Environments {
		f.Environments[i].text(out)
	}
	return out.Flush()
}

func (e *Env) text(w io.Writer) {
	fmt.Fprintf(w, "\n== %s: %s\n", markup.Visible(e.Name), markup.Visible(e.Verdict.Text))
	for _, c := range e.Verdict.Causes {
		fmt.Fprintf(w, "   %s\n   -> %s\n", markup.Visible(c.String()), markup.Visible(c.Cure))
	}
	if e.StoreOnly {
		fmt.Fprintf(w, "   this is what the store has on record: its database was not asked\n")
	}
	for _, t := range e.Troubles {
		fmt.Fprintf(w, "   not found out: %s\n", markup.Visible(t))
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw)
	if e.Event > 0 {
		fmt.Fprintf(tw, "pin composes at\tevent %d of %s\n", e.Event, minute(e.EventTime))
		if !e.StoreOnly {
			fmt.Fprintf(tw, "may be pinned\tfrom event %d on\n", e.History)
		}
		fmt.Fprintf(tw, "snapshot\t%s of %s\n", markup.Visible(e.Snapshot), markup.Visible(e.Hub))
		fmt.Fprintf(tw, "all was well\t%s\n", minute(e.Success))
	}
	if d := e.Drift; d != nil && d.Error == "" && !d.Loaded {
		fmt.Fprintf(tw, "behind the store\t%d events\n", d.Events)
	}
	if e.Every > 0 {
		fmt.Fprintf(tw, "syncs begin every\t%s\n", duration(float64(e.Every)))
	}
	tw.Flush()
	e.textChecks(w)
	e.textSyncs(w)
	e.textChanges(w)
	for _, o := range e.Own {
		fmt.Fprintf(w, "\n%s: %d. %s\n", markup.Visible(o.Kind), o.Total, markup.Visible(o.Consequence))
		textList(w, o.Total, o.Entries)
	}
	e.textFiles(w)
	e.textConfig(w)
}

func (e *Env) textConfig(w io.Writer) {
	if len(e.Config) == 0 {
		return
	}
	fmt.Fprintf(w, "\nconfiguration\n")
	defaults := 0
	for _, k := range e.Config {
		section := ""
		if k.Section != "" {
			section = "[" + k.Section + "] "
		}
		if k.Default {
			defaults++
			continue
		}
		fmt.Fprintf(w, "  %s%s = %s (%s)\n", markup.Visible(section), markup.Visible(k.Key), markup.Visible(k.Value), markup.Visible(k.Origin))
	}
	if defaults > 0 {
		fmt.Fprintf(w, "  %d keys have their defaults; kojisnap config show -v prints them\n", defaults)
	}
}

func (e *Env) textChecks(w io.Writer) {
	if len(e.Checks) == 0 {
		return
	}
	n := e.counts()
	unproven := ""
	if n[verify.StatusUnproven] > 0 {
		unproven = fmt.Sprintf("%d unproven, ", n[verify.StatusUnproven])
	}
	fmt.Fprintf(w, "\nchecks of %s: %d failed, %d warnings, %s%d skipped, %d ok\n", minute(e.Checked),
		n[verify.StatusFailed], n[verify.StatusWarning], unproven, n[verify.StatusSkipped], n[verify.StatusOK])
	for _, c := range e.Checks {
		name := strings.Join(strings.Fields(markup.Visible(c.Name+" "+c.Tag+" "+c.Arch)), " ")
		if c.Status == verify.StatusOK {
			fmt.Fprintf(w, "%s %s: %d\n", marks[c.Status], name, c.Count)
			continue
		}
		said := string(c.Status)
		if c.Bad > 0 {
			said += fmt.Sprintf(", %d of %d", c.Bad, c.Count)
		}
		if c.Detail != "" {
			said += ": " + markup.Visible(c.Detail)
		}
		fmt.Fprintf(w, "%s %s: %s\n  -> %s\n", marks[c.Status], name, said, markup.Visible(c.Cure))
		textList(w, len(c.Entries)+c.more(), c.Entries)
	}
}

func (e *Env) textSyncs(w io.Writer) {
	if len(e.Syncs) == 0 {
		return
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "sync\tbegan\ttook\texit\tevent\trows\tbytes\trequests\t")
	for _, s := range e.Syncs[:min(len(e.Syncs), shownSyncs)] {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t%s", s.ID, minute(s.Started), duration(s.Seconds), s.Exit, s.Event, s.Rows, kojisnap.Size(s.Bytes), s.Requests, markup.Visible(s.Error))
		if s.Missed > 0 {
			fmt.Fprintf(tw, " %d missed before this one", s.Missed)
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

func (e *Env) textChanges(w io.Writer) {
	c := e.Changes
	if c == nil {
		return
	}
	fmt.Fprintf(w, "\nchanged from event %d to event %d: %d builds new, %d moved, %d tagged or untagged, %d gone\n",
		c.FromEvent, c.Event, c.New.Total, c.Moved.Total, c.Added.Total, c.Gone.Total)
	for _, l := range []struct {
		what string
		list BuildList
	}{{"new", c.New}, {"moved", c.Moved}, {"tagged", c.Added}, {"gone", c.Gone}} {
		for _, b := range l.list.Builds {
			fmt.Fprintf(w, "  %s %s", l.what, markup.Visible(b.Build))
			if len(b.Into) > 0 {
				fmt.Fprintf(w, " into %s", markup.Visible(strings.Join(b.Into, ", ")))
			}
			if len(b.From) > 0 {
				fmt.Fprintf(w, " out of %s", markup.Visible(strings.Join(b.From, ", ")))
			}
			fmt.Fprintln(w)
		}
		more(w, l.list.Total-len(l.list.Builds))
	}
}

func (e *Env) textFiles(w io.Writer) {
	f := e.Files
	fmt.Fprintln(w)
	if f.Topdir != "" {
		fmt.Fprintf(w, "files below %s: %d of %d builds, %s; %s of %s are left\n", markup.Visible(f.Topdir), f.Copies, f.Builds, kojisnap.Size(f.Bytes), kojisnap.Size(f.Free), kojisnap.Size(f.Room))
	}
	for _, m := range []struct {
		what string
		made Made
	}{{"last copy", f.Last}, {"all copies", f.All}} {
		if x := m.made; !x.Since.IsZero() {
			fmt.Fprintf(w, "%s since %s: %d files, %s: %d hard links, %d reflinks, %d copies, %d from signature headers, %d downloads\n",
				m.what, minute(x.Since), x.Files, kojisnap.Size(x.Bytes), x.Hardlinked, x.Reflinked, x.Copied, x.Spliced, x.Fetched)
		}
	}
	for _, c := range []struct {
		what  string
		asked Asked
	}{{"last pull", e.Cost.Last}, {"all pulls", e.Cost.All}} {
		if x := c.asked; x.Pulls > 0 {
			fmt.Fprintf(w, "%s since %s: %d requests of production's hub, %d rows, %s sent, %s received, %s of files, %s\n",
				c.what, minute(x.Since), x.Requests, x.Rows, kojisnap.Size(x.Sent), kojisnap.Size(x.Received), kojisnap.Size(x.Fetched), duration(x.Seconds))
		}
	}
}

func textList(w io.Writer, total int, entries []string) {
	for _, e := range entries {
		fmt.Fprintf(w, "    %s\n", markup.Visible(e))
	}
	more(w, total-len(entries))
}

func more(w io.Writer, n int) {
	if n > 0 {
		fmt.Fprintf(w, "    and %d more\n", n)
	}
}
