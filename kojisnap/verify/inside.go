package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/trial"
	"kojisnap/kojisnap/trial/inside"
)

// insideChecks make the trial in the environment that composes are made for.
type insideChecks struct{ linkChecks }

// insideTree is a repository to make, with the tag and the arch that it is of.
type insideTree struct {
	trial.Tree
	tag, arch string
	as        string // the tag whose name says the release
}

// checkInside makes a repository for each tag and arch in the image that is configured for it. An error is about the
// engine or its images: *inside.UnusableError, *inside.KilledError.
func (v insideChecks) checkInside(ctx context.Context) error {
	groups := map[inside.Image][]insideTree{}
	none := Check{Name: "image"}
	for _, t := range v.trees() {
		arch := filepath.Base(t.Dir)
		tag := filepath.Dir(t.Dir)
		none.Count++
		image, as, ok := v.choose(tag, arch)
		if v.Inside.Engine == inside.Here { // the image is what kojisnap runs in
			image, ok = inside.Image{Name: "this environment", Release: image.Release}, true
		}
		if !ok {
			none.bad("%s %s: no pattern of [verify.image] matches", tag, arch)
			continue
		}
		groups[image] = append(groups[image], insideTree{t, tag, arch, as})
	}
	if none.Bad > 0 {
		none.Detail = "tags and arches without an image to make composes in: name one in [verify.image]"
	}
	v.add(none, StatusFailed)
	byName := func(a, b inside.Image) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Release, b.Release))
	}
	for _, image := range slices.SortedFunc(maps.Keys(groups), byName) {
		if err := v.checkImage(ctx, image, groups[image]); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the image of a tag and an arch, and the tag whose name says the release. A content tag that no pattern
// matches, which nobody asked for, has the image of the tags that were asked for, if they have the same one.
func (v insideChecks) choose(tag, arch string) (image inside.Image, as string, ok bool) {
	if image, ok = v.Inside.Images.Choose(tag, arch); ok || !v.content[tag] {
		return image, tag, ok
	}
	for _, other := range v.Want.Tags {
		if v.content[other] {
			continue
		}
		its, chosen := v.Inside.Images.Choose(other, arch)
		if !chosen || ok && its != image {
			return inside.Image{}, cmp.Or(as, other), false
		}
		image, as, ok = its, cmp.Or(as, other), true
	}
	return image, cmp.Or(as, tag), ok
}

// checkImage runs the trial of some repositories in an image.
func (v insideChecks) checkImage(ctx context.Context, image inside.Image, trees []insideTree) error {
	found, err := v.Inside.Find(ctx, image)
	if err != nil {
		return err
	}
	if !found.Runs() {
		c := Check{Name: "environment", Status: StatusUnproven, Count: len(trees), Bad: len(trees)}
		c.Detail = fmt.Sprintf("repositories were not tried: %s is for %s, this machine is %s, and binfmt_misc has no interpreter for it", found, found.Arch, trial.Arch())
		v.add(c, StatusUnproven)
		return nil
	}
	job, mounts, err := v.job(trees)
	if err != nil {
		v.add(Check{Name: "trial", Count: len(trees), Bad: len(trees), Detail: oneline.Of(err).Error()}, StatusFailed)
		return nil
	}
	v.log.DebugContext(ctx, "trial inside", "image", found.String(), "mounts", mounts)
	m := newMeter(v.ComposeDir)
	steps, err := v.Inside.Run(ctx, found, job, mounts, v.user)
	for _, s := range steps {
		v.reportStep(found, trees, s)
		if s.Name == trial.StepTrial && v.clone.inClone(v.ComposeDir) {
			v.checkCloneLinks(m, repoDirs(s.Repos), trial.Count(s.Repos).Copied)
		}
	}
	var late *inside.TimeoutError
	if errors.As(err, &late) {
		v.add(Check{Name: stepCheck(late.Step), Count: len(trees), Bad: len(trees), Detail: late.Error()}, StatusFailed)
		return nil
	}
	return err
}

// stepCheck is the name of the check that a step of a trial is reported as.
func stepCheck(step string) string {
	if step == trial.StepDone {
		return trial.StepTrial
	}
	return step
}

// job is what is tried inside. It has no symlinks in its paths, because inside they may lead elsewhere.
func (v insideChecks) job(trees []insideTree) (job trial.Job, mounts []inside.Mount, err error) {
	real, err := filepath.EvalSymlinks(v.Topdir)
	if err != nil {
		return job, nil, err
	}
	if job.Dir, err = filepath.EvalSymlinks(v.ComposeDir); err != nil {
		return job, nil, err
	}
	mounts = []inside.Mount{{Path: real}}
	if v.clone.inClone(v.ComposeDir) {
		if path, err := filepath.EvalSymlinks(v.clone.note.Path); err == nil {
			mounts = append(mounts, inside.Mount{Path: path})
		}
	}
	if !mounted(job.Dir, mounts) {
		mounts = append(mounts, inside.Mount{Path: job.Dir})
	}
	dirs := map[string]string{} // without symlinks
	for _, t := range trees {
		tree := trial.Tree{Dir: t.Dir}
		for _, file := range t.RPMs {
			dir, ok := dirs[filepath.Dir(file)]
			if !ok {
				if dir, err = filepath.EvalSymlinks(filepath.Dir(file)); err != nil {
					return job, nil, err
				}
				dirs[filepath.Dir(file)] = dir
				if !mounted(dir, mounts) {
					mounts = append(mounts, inside.Mount{Path: packagesOf(dir), ReadOnly: true})
				}
			}
			tree.RPMs = append(tree.RPMs, filepath.Join(dir, filepath.Base(file)))
		}
		job.Trees = append(job.Trees, tree)
	}
	if v.Inside.ComposeRun != "" {
		job.Run = []string{"/bin/sh", "-c", v.Inside.ComposeRun}
	}
	return job, mounts, nil
}

// packagesOf is the directory packages that a directory of a build is below.
func packagesOf(dir string) string {
	if i := strings.LastIndex(dir, "/packages/"); i >= 0 {
		return dir[:i+len("/packages")]
	}
	return dir
}

func mounted(dir string, mounts []inside.Mount) bool {
	return slices.ContainsFunc(mounts, func(m inside.Mount) bool {
		return dir == m.Path || strings.HasPrefix(dir, strings.TrimSuffix(m.Path, "/")+"/")
	})
}

// reportStep adds the check of a step that ended.
func (v insideChecks) reportStep(image inside.Found, trees []insideTree, s trial.Step) {
	switch s.Name {
	case trial.StepEnvironment:
		v.reportEnvironment(image, trees, s.Facts)
	case trial.StepTrial:
		v.reportTrial(image, trees, s)
	case trial.StepDigests:
		c := Check{Name: "rpm -K", Count: s.Count}
		v.reportBad(c, image, s, "rpms, read whole by rpm in %s", StatusFailed)
	case trial.StepClosure:
		c := Check{Name: "closure", Count: s.Count}
		what := "requirements of packages, within their repositories, in %s"
		if s.Unknown > 0 {
			what += fmt.Sprintf("; %d with conditions were not looked at", s.Unknown)
		}
		v.reportBad(c, image, s, what, StatusWarning)
	case trial.StepRun:
		c := Check{Name: "compose-run", Count: s.Count}
		v.reportBad(c, image, s, "command, run in %s", StatusFailed)
	}
}

// reportBad adds the check of a step with what it found bad, or why it could not be made and its last lines.
func (v insideChecks) reportBad(c Check, image inside.Found, s trial.Step, what string, whenBad Status) {
	c.Detail = fmt.Sprintf(what, image)
	for _, b := range s.Bad {
		c.bad("%s", b)
	}
	if s.Error != "" {
		whenBad = StatusFailed
		c.Detail = s.Error + ", in " + image.String()
		c.Count = max(1, c.Count)
		c.Bad = max(1, c.Bad)
		if len(s.Tail) > 0 {
			c.Detail += "; its last lines: " + strings.Join(s.Tail, " / ")
		}
	}
	c.Detail = oneline.Of(errors.New(c.Detail)).Error()
	v.add(c, whenBad)
}

// reportEnvironment compares the image with what the tags want.
func (v insideChecks) reportEnvironment(image inside.Found, trees []insideTree, e *trial.Environment) {
	c := Check{Name: "environment"}
	if e == nil {
		e = &trial.Environment{Missing: []string{"the trial said nothing of its environment"}}
	}
	c.Detail = fmt.Sprintf("%s: %s %s, createrepo_c %s, rpm %s", image, cmp.Or(e.ID, "no ID"), cmp.Or(e.Version, "no VERSION_ID"), cmp.Or(e.Createrepo, "none"), cmp.Or(e.RPM, "none"))
	c.Detail = oneline.Of(errors.New(c.Detail)).Error()
	status := StatusUnproven
	seen := map[string]bool{}
	for _, t := range trees {
		if seen[t.as] {
			continue
		}
		seen[t.as] = true
		c.Count++
		unknown, err := image.CheckRelease(t.as, e.ID, e.Version)
		if err == nil {
			continue
		}
		if !unknown {
			status = StatusFailed
		}
		c.bad("%s: %v", t.as, err)
	}
	for _, m := range e.Missing {
		status = StatusFailed
		c.Count++
		c.bad("%s", m)
	}
	v.add(c, status)
}

// reportTrial reports the repositories. Copies in the place of links are what they are on this machine: to be expected
// if a link cannot be made here either, and else a failure.
func (v insideChecks) reportTrial(image inside.Found, trees []insideTree, s trial.Step) {
	sum := trial.Count(s.Repos)
	c := Check{Name: "trial", Count: len(trees)}
	status := StatusFailed
	what := fmt.Sprintf("repositories of %d rpms, %d hard links, %d files copied, in %s below %s", sum.RPMs, sum.Linked, sum.Copied, image, v.ComposeDir)
	if s.Error != "" {
		c.Detail = fmt.Sprintf("%s, in %s; what was made remains in %s", s.Error, image, v.ComposeDir)
		c.Bad = max(1, len(trees)-len(s.Repos))
	} else if c.Detail = what; sum.Copied > v.copiedHere(trees) {
		for _, r := range s.Repos {
			if r.Copied > 0 {
				c.bad("%s: %d of %d rpms were copied", r.Dir, r.Copied, r.RPMs)
			}
		}
		c.Detail += "; links cannot be made between two mounts: put the compose directory below topdir"
	}
	v.add(c, status)
}

// copiedHere counts the files that are copied on this machine, too, because they are on another mount.
func (v insideChecks) copiedHere(trees []insideTree) int {
	copied := map[string]bool{}
	byPath := map[string]bool{}
	for _, s := range v.states {
		if l := v.classes[s.class]; s.path != "" && l != nil && errors.Is(l.err, syscall.EXDEV) {
			byPath[s.path] = true
		}
	}
	for _, t := range trees {
		for _, file := range t.RPMs {
			if byPath[file] {
				copied[file] = true
			}
		}
	}
	return len(copied)
}
