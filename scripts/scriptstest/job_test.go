package scriptstest

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestShards: the indexes of the job are the parts of all builds: as many as it has completions, each one that kojisnap takes. What the
// server would refuse, or what would end all workers because of one, is not there.
func TestShards(t *testing.T) {
	job, ok := load(t)["Job/kojisnap-shards"].(*batchv1.Job)
	if !ok {
		t.Fatal("there is no such job")
	}
	s := job.Spec
	if s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion || s.Completions == nil || s.Parallelism == nil || *s.Parallelism > *s.Completions {
		t.Fatalf("%+v", s)
	}
	if s.BackoffLimitPerIndex == nil || s.MaxFailedIndexes == nil || *s.MaxFailedIndexes > *s.Completions || s.BackoffLimit != nil {
		t.Errorf("a worker that fails must not end the others: %v, %v, %v", s.BackoffLimitPerIndex, s.MaxFailedIndexes, s.BackoffLimit)
	}
	pod := s.Template.Spec
	if pod.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("restartPolicy %s", pod.RestartPolicy)
	}
	final := []int32{}
	for _, rule := range s.PodFailurePolicy.Rules {
		if rule.OnExitCodes != nil && rule.Action == batchv1.PodFailurePolicyActionFailIndex && *rule.OnExitCodes.ContainerName == pod.Containers[0].Name {
			final = append(final, rule.OnExitCodes.Values...)
		}
	}
	if want := []int32{1, 2, 3, 6}; !slices.Equal(final, want) {
		t.Errorf("exit codes %v end an index, want %v: those of a lock and of \"try again later\" are tried again", final, want)
	}
	program := os.Getenv(envProgram)
	if program == "" {
		t.Fatalf("%s names no program: run the tests of integration/ops", envProgram)
	}
	c := pod.Containers[0]
	i := slices.Index(c.Args, "--shard")
	if i < 0 || !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
		return strings.Contains(c.Args[i+1], "$("+e.Name+")") && e.ValueFrom != nil && e.ValueFrom.FieldRef.FieldPath == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
	}) {
		t.Fatalf("%q does not take the index", c.Args)
	}
	_, n, _ := strings.Cut(c.Args[i+1], "/")
	if n != strconv.Itoa(int(*s.Completions)) {
		t.Errorf("--shard divides by %s, and there are %d workers", n, *s.Completions)
	}
	for index := range int(*s.Completions) + 1 {
		args := slices.Clone(c.Args)
		args[i+1] = strings.ReplaceAll(args[i+1], "$(KOJISNAP_INDEX)", strconv.Itoa(index))
		// Without a store it goes no further than its command line.
		out, _ := exec.Command(program, append(args, "--topdir", t.TempDir(), "-c", os.DevNull)...).CombinedOutput()
		if refused := strings.Contains(string(out), "--shard"); refused != (index == int(*s.Completions)) {
			t.Errorf("%q: %s", args, out)
		}
	}
}
