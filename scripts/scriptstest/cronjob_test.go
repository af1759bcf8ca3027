package scriptstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// EnvProgram names the kojisnap that reads the ConfigMap's configuration.
const envProgram = "KOJISNAP_TEST_PROGRAM"

// checkSchedule checks a schedule's five fields as the controller does: names, macros and seconds are not used here.
func checkSchedule(schedule string) error {
	fields := strings.Fields(schedule)
	limits := [][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}
	if len(fields) != len(limits) {
		return fmt.Errorf("schedule %q has %d fields, want 5", schedule, len(fields))
	}
	for i, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			span, step, stepped := strings.Cut(part, "/")
			if n, err := strconv.Atoi(step); stepped && (err != nil || n < 1 || n > limits[i][1]) {
				return fmt.Errorf("schedule %q: step %q", schedule, step)
			}
			if span == "*" {
				continue
			}
			low, high, _ := strings.Cut(span, "-")
			for _, end := range []string{low, high} {
				if n, err := strconv.Atoi(end); end != "" && (err != nil || n < limits[i][0] || n > limits[i][1]) {
					return fmt.Errorf("schedule %q: field %d, %q is not %d to %d", schedule, i+1, end, limits[i][0], limits[i][1])
				}
			}
			if low == "" {
				return fmt.Errorf("schedule %q: field %d is empty", schedule, i+1)
			}
		}
	}
	return nil
}

// TestSchedules: what Kubernetes' types do not check, its controller would refuse only later.
func TestSchedules(t *testing.T) {
	for name, job := range load(t).cronJobs() {
		s := job.Spec
		if err := checkSchedule(s.Schedule); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.TimeZone == nil {
			t.Errorf("%s has no time zone: it is that of the controller", name)
		} else if _, err := time.LoadLocation(*s.TimeZone); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// One job at a time: that is kojisnap's lock here. A controller that was down for longer than a hundred
		// schedules gives up for ever, unless there is a deadline.
		if s.ConcurrencyPolicy != batchv1.ForbidConcurrent || s.StartingDeadlineSeconds == nil || *s.StartingDeadlineSeconds < 10 || s.Suspend != nil && *s.Suspend {
			t.Errorf("%s: concurrencyPolicy %q, startingDeadlineSeconds %v", name, s.ConcurrencyPolicy, s.StartingDeadlineSeconds)
		}
		if s.SuccessfulJobsHistoryLimit == nil || s.FailedJobsHistoryLimit == nil || *s.FailedJobsHistoryLimit < 1 {
			t.Errorf("%s: history %v, %v", name, s.SuccessfulJobsHistoryLimit, s.FailedJobsHistoryLimit)
		}
		if spec := s.JobTemplate.Spec; spec.ActiveDeadlineSeconds == nil || *spec.ActiveDeadlineSeconds < 600 {
			t.Errorf("%s: a job that hangs blocks all others: activeDeadlineSeconds %v", name, spec.ActiveDeadlineSeconds)
		}
	}
	for _, wrong := range []string{"61 * * * *", "* * * *", "*/0 * * * *", "1- * * x *", "* * 0 * *", "@hourly", "-5 * * * *"} {
		if checkSchedule(wrong) == nil {
			t.Errorf("%q passes", wrong)
		}
	}
}

// TestRetries: only what may succeed later is tried again: exit code 5, and pods that something else ended.
func TestRetries(t *testing.T) {
	for name, job := range load(t).cronJobs() {
		spec := job.Spec.JobTemplate.Spec
		if spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever || spec.BackoffLimit == nil || spec.PodFailurePolicy == nil {
			t.Fatalf("%s: restartPolicy %q, backoffLimit %v: a policy for failures wants Never", name, spec.Template.Spec.RestartPolicy, spec.BackoffLimit)
		}
		var final []int32
		for _, rule := range spec.PodFailurePolicy.Rules {
			if exit := rule.OnExitCodes; exit != nil {
				if rule.Action != batchv1.PodFailurePolicyActionFailJob || exit.Operator != batchv1.PodFailurePolicyOnExitCodesOpIn ||
					exit.ContainerName == nil || *exit.ContainerName != spec.Template.Spec.Containers[0].Name {
					t.Errorf("%s: rule %+v", name, rule)
				}
				final = append(final, exit.Values...)
			} else if rule.Action != batchv1.PodFailurePolicyActionIgnore || len(rule.OnPodConditions) != 1 || rule.OnPodConditions[0].Type != corev1.DisruptionTarget {
				t.Errorf("%s: rule %+v", name, rule)
			}
		}
		if want := []int32{1, 2, 3, 4, 6}; !slices.Equal(final, want) { // sorted, or the server refuses them
			t.Errorf("%s: exit codes %v end the job, want %v", name, final, want)
		}
	}
}

// TestRestricted: the pods keep to Kubernetes' pod security standard "restricted", and have no token of the cluster.
func TestRestricted(t *testing.T) {
	for name, pod := range load(t).pods() {
		sc := pod.SecurityContext
		if sc == nil || sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot || sc.RunAsUser != nil && *sc.RunAsUser == 0 ||
			sc.SeccompProfile == nil || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || sc.FSGroup != nil {
			t.Errorf("%s: security context of the pod %+v", name, sc)
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || pod.HostNetwork || pod.HostPID {
			t.Errorf("%s has more of the cluster than it needs", name)
		}
		for _, c := range pod.Containers {
			sc := c.SecurityContext
			if sc == nil || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem ||
				sc.Capabilities == nil || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(sc.Capabilities.Add) > 0 || sc.Privileged != nil {
				t.Errorf("%s: security context of %s %+v", name, c.Name, sc)
			}
			if c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: resources %+v", name, c.Resources)
			}
		}
	}
}

// TestVolumes: each volume exists in these files and is mounted, and production's tree cannot be written.
func TestVolumes(t *testing.T) {
	all := load(t)
	for name, pod := range all.pods() {
		mounted := map[string]corev1.VolumeMount{}
		for _, m := range pod.Containers[0].VolumeMounts {
			mounted[m.Name] = m
		}
		for _, v := range pod.Volumes {
			m, ok := mounted[v.Name]
			delete(mounted, v.Name)
			switch {
			case !ok:
				t.Errorf("%s: volume %s is mounted nowhere", name, v.Name)
			case v.ConfigMap != nil && all["ConfigMap/"+v.ConfigMap.Name] == nil, v.Secret != nil && all["Secret/"+v.Secret.SecretName] == nil,
				v.PersistentVolumeClaim != nil && all["PersistentVolumeClaim/"+v.PersistentVolumeClaim.ClaimName] == nil:
				t.Errorf("%s: what volume %s names is not in these files", name, v.Name)
			case v.Name == "production" && (!m.ReadOnly || !v.PersistentVolumeClaim.ReadOnly):
				t.Errorf("%s mounts production's tree writable", name)
			case v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o444):
				t.Errorf("%s: mode %v of the secret: the files are root's, and kojisnap is not root", name, v.Secret.DefaultMode)
			}
		}
		for left := range mounted {
			t.Errorf("%s mounts %s, which is no volume", name, left)
		}
	}
	production := all["PersistentVolume/kojisnap-production"].(*corev1.PersistentVolume).Spec
	if !production.NFS.ReadOnly || !slices.Contains(production.MountOptions, "ro") || !slices.Equal(production.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}) {
		t.Errorf("production's volume can be written: %+v", production)
	}
}

// TestConfiguration: kojisnap takes the ConfigMap's configuration, with the paths at which the jobs mount things, and
// the command line of each job.
func TestConfiguration(t *testing.T) {
	program := os.Getenv(envProgram)
	if program == "" {
		t.Fatalf("%s names no program: run the tests of integration/ops", envProgram)
	}
	all := load(t)
	data := all["ConfigMap/kojisnap"].(*corev1.ConfigMap).Data
	etc := t.TempDir()
	for name, body := range data {
		body = strings.ReplaceAll(body, "/etc/kojisnap/", etc+"/")
		if err := os.WriteFile(filepath.Join(etc, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(etc, "kojisnap.toml")
	if out, err := exec.Command(program, "config", "check", "-c", config).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the ConfigMap's configuration: %v: %s", err, out)
	}
	for name, pod := range all.pods() {
		c := pod.Containers[0]
		// A flag that does not exist is an error before --help is.
		if out, err := exec.Command(program, append(c.Args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%s: kojisnap %q: %v: %s", name, c.Args, err, out)
		}
		for _, m := range c.VolumeMounts {
			if (m.Name == "topdir" || m.Name == "production") && !strings.Contains(data["kojisnap.toml"], `"`+m.MountPath+`"`) {
				t.Errorf("%s mounts %s at %s, which the configuration does not name", name, m.Name, m.MountPath)
			}
		}
	}
}
