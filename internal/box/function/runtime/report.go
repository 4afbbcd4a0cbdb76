package runtime

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// report is what an invocation's last line says.
type report struct {
	status         string // success, error, timeout
	kind           string // the error's type
	duration, init time.Duration
	memoryMB       int
	used           int64 // bytes at most; 0 where the system does not tell
	ended          bool  // the process was ended by what happened
}

// The lines that Lambda itself writes into a function's log, in words or as JSON
// of the Telemetry API. AWS: system logs have levels too.

// initStart is written when a process starts, once for both tries.
func (s *stream) initStart(version string) {
	s.mu.Lock()
	again := s.begun
	s.begun = true
	s.mu.Unlock()
	if again {
		return
	}
	if s.format != FormatJSON {
		s.add("INIT_START Runtime Version: " + version + "\n")
		return
	}
	s.system("INFO", "platform.initStart", map[string]any{
		"initializationType": "on-demand", "phase": "init", "runtimeVersion": version,
		"functionName": s.functionName, "functionVersion": s.functionsVersion,
	})
}

// initReport is written when a process failed to initialize.
func (s *stream) initReport(took time.Duration, phase string, failed *failure) {
	if s.format != FormatJSON {
		line := fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: %s\tStatus: %s", millis(took), phase, failed.status())
		if !failed.timeout {
			line += "\tError Type: " + failed.kind
		}
		s.add(line + "\t\n")
		return
	}
	record := map[string]any{
		"initializationType": "on-demand", "phase": phase, "status": failed.status(),
		"metrics": map[string]any{"durationMs": millis(took)},
	}
	if !failed.timeout {
		record["errorType"] = failed.kind
	}
	s.system("WARN", "platform.initReport", record)
}

// begin is written when a process gets an invocation.
func (s *stream) begin(c *call, fn *Function) {
	s.takeTail() // what came before is not this invocation's
	if s.format != FormatJSON {
		s.add("START RequestId: " + c.RequestID + " Version: " + fn.Version + "\n")
		return
	}
	s.system("INFO", "platform.start", map[string]any{"requestId": c.RequestID, "version": fn.Version})
}

// failed is written when an invocation ends with its process.
func (s *stream) failed(c *call, f *failure) {
	switch {
	case s.format == FormatJSON: // the report says it
	case f.timeout:
		s.add(s.pool.opt.Now().UTC().Format("2006-01-02T15:04:05.000Z") + " " + c.RequestID + " " + f.text(c) + "\n\n")
	case f.body == nil:
		s.add("RequestId: " + c.RequestID + " Error: " + f.message + "\n" + f.kind + "\n")
	}
}

// end is written when an invocation is over. It returns the invocation's last 4 KB.
func (s *stream) end(c *call, r *report) []byte {
	if s.format != FormatJSON {
		s.add("END RequestId: " + c.RequestID + "\n")
		s.add(r.line(c))
		return s.takeTail()
	}
	level, done := "INFO", "DEBUG"
	record := map[string]any{"requestId": c.RequestID, "status": r.status}
	if r.status != "success" {
		level, done = "WARN", "WARN"
		if r.kind != "" {
			record["errorType"] = r.kind
		}
	}
	s.system(done, "platform.runtimeDone", record)
	record["metrics"] = r.metrics()
	s.system(level, "platform.report", record)
	return s.takeTail()
}

// line is the REPORT line.
func (r *report) line(c *call) string {
	var b strings.Builder
	fmt.Fprintf(&b, "REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\t",
		c.RequestID, millis(r.duration), r.billed(), r.memoryMB)
	if r.used > 0 {
		fmt.Fprintf(&b, "Max Memory Used: %d MB\t", r.usedMB())
	}
	if r.init > 0 {
		fmt.Fprintf(&b, "Init Duration: %.2f ms\t", millis(r.init))
	}
	if r.ended {
		b.WriteString("Status: " + r.status + "\t")
		if r.status == "error" {
			b.WriteString("Error Type: " + r.kind + "\t")
		}
	}
	return b.String() + "\n"
}

func (r *report) metrics() map[string]any {
	m := map[string]any{"durationMs": millis(r.duration), "billedDurationMs": r.billed(), "memorySizeMB": r.memoryMB}
	if r.used > 0 {
		m["maxMemoryUsedMB"] = r.usedMB()
	}
	if r.init > 0 {
		m["initDurationMs"] = millis(r.init)
	}
	return m
}

// billed is in milliseconds. AWS: rounded up, with what the initialization took.
func (r *report) billed() int64 { return int64(math.Ceil(millis(r.duration + r.init))) }

func (r *report) usedMB() int64 { return (r.used + 1<<20 - 1) >> 20 }

// millis has two digits after the point.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*100) / 100
}

// system writes an event as JSON, if the log is to have those of its level.
func (s *stream) system(level, kind string, record map[string]any) {
	if !levelAtLeast(level, s.systemLevel) {
		return
	}
	b, _ := json.Marshal(map[string]any{ // of strings and numbers
		"time": s.pool.opt.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "type": kind, "record": record,
	})
	s.add(string(b) + "\n")
}

var levels = map[string]int{"TRACE": 1, "DEBUG": 2, "INFO": 3, "WARN": 4, "WARNING": 4, "ERROR": 5, "FATAL": 6, "CRITICAL": 6}

// levelAtLeast says whether a level is as serious as the least one wanted, which is INFO by default.
func levelAtLeast(level, least string) bool {
	if least == "" {
		least = "INFO"
	}
	return levels[level] >= levels[least]
}

// levelOf returns the level that a line of JSON says it has. AWS: INFO where it says none.
func levelOf(message string) string {
	if !strings.HasPrefix(message, "{") {
		return "INFO"
	}
	var line struct {
		Level string `json:"level"`
	}
	if json.Unmarshal([]byte(message), &line) != nil {
		return "INFO"
	}
	level := strings.ToUpper(line.Level)
	if levels[level] == 0 {
		return "INFO"
	}
	return level
}
