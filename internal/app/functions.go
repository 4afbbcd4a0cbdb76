package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/box/function"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/box/topic"
)

// makeFunctions makes the functions and what runs them.
func (a *App) makeFunctions(h hooks) error {
	dir, err := filepath.Abs(filepath.Join(a.config.DataDir, "functions"))
	if err != nil {
		return fmt.Errorf("directory of functions: %w", err)
	}
	a.functionPool = runtime.New(runtime.Options{
		Dir: filepath.Join(dir, "processes"), Environment: a.functionEnvironment, Logs: functionLogs{a.logGroups}, Logger: a.logger, Now: h.now,
	})
	enabled, err := a.functionsEnabled()
	if err != nil {
		return err
	}
	a.functions = function.New(a.db, function.Options{
		BaseDir: dir, Enabled: func() bool { return enabled }, URL: a.URL, Runtime: a.functionPool, Sealer: a.auth.Sealer(),
		Queues: a.queues, Topics: a.topics, Jobs: a.work, RetryWaits: a.config.FunctionRetryWaits, OrgID: a.config.Organization, Logger: a.logger, Now: h.now,
	})
	return nil
}

// functionsEnabled says whether users' code is run: as configured, else where only this machine
// reaches the server.
func (a *App) functionsEnabled() (bool, error) {
	local, err := a.onlyThisMachine()
	if err != nil || a.config.Functions == nil {
		return local, err
	}
	if *a.config.Functions && !local {
		a.logger.Warn("functions are on, and this server can be reached by others: whoever has an admin key runs code as its user, without a sandbox")
	}
	return *a.config.Functions, nil
}

// onlyThisMachine says whether nobody else can reach the server.
func (a *App) onlyThisMachine() (bool, error) {
	host, _, err := net.SplitHostPort(a.listener.Addr().String())
	if err != nil {
		return false, fmt.Errorf("read the address listened on: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return false, nil
	}
	public, err := publicURL(a.config)
	if err != nil || public == nil {
		return err == nil, err
	}
	ip := net.ParseIP(public.Hostname())
	return public.Hostname() == "localhost" || ip != nil && ip.IsLoopback(), nil
}

// functionEnvironment is what a function needs to call this server with an AWS SDK, as its
// account.
func (a *App) functionEnvironment(account, region string) []string {
	id, secret := a.auth.InternalCredentials(account)
	url := a.LocalURL()
	if a.config.TLSCert != "" {
		url = a.url // which the certificate is for
	}
	return []string{
		"AWS_ENDPOINT_URL=" + url, "AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret,
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
	}
}

// functionLogs writes what functions log to the box's log groups.
type functionLogs struct{ groups logs.Service }

// Put appends to a stream, and makes the group and the stream if they are not there.
func (l functionLogs) Put(ctx context.Context, account, region, group, stream string, events []runtime.LogEvent) error {
	ctx = awsapi.WithCaller(ctx, awsapi.Caller{Account: account, Region: region, Role: string(auth.Admin), Service: "logs", RequestID: uuid.NewString()})
	in := &logs.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream, LogEvents: make([]logs.InputLogEvent, len(events))}
	for i, e := range events {
		in.LogEvents[i] = logs.InputLogEvent{Timestamp: new(e.At.UnixMilli()), Message: new(e.Message)}
	}
	_, err := l.groups.PutLogEvents(ctx, in)
	if !awsapi.HasCode(err, logs.CodeResourceNotFoundException) {
		return err
	}
	_, err = l.groups.CreateLogGroup(ctx, &logs.CreateLogGroupInput{LogGroupName: &group})
	if err == nil || awsapi.HasCode(err, logs.CodeResourceAlreadyExistsException) {
		_, err = l.groups.CreateLogStream(ctx, &logs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &stream})
	}
	if err != nil && !awsapi.HasCode(err, logs.CodeResourceAlreadyExistsException) {
		return err
	}
	_, err = l.groups.PutLogEvents(ctx, in)
	return err
}

// runFunctionPool runs processes until ctx ends, or until jobs are to end.
func (a *App) runFunctionPool(ctx context.Context) error {
	if err := a.functionPool.Run(ctx); err != nil {
		return err
	}
	<-ctx.Done() // others are stopped before it
	return ctx.Err()
}

// runJobs runs jobs until ctx ends. Those that wait for functions are told then what came of them,
// since functions end too.
func (a *App) runJobs(ctx context.Context) error {
	defer context.AfterFunc(ctx, a.functionPool.Stop)()
	return a.work.Run(ctx)
}

// isLink says whether a request follows a link that this server gave out, without a signature.
func isLink(r *http.Request) bool { return topic.IsLink(r) || function.IsLink(r) }

// serveLink answers the requests that isLink is true of.
func (a *App) serveLink(w http.ResponseWriter, r *http.Request) {
	if function.IsLink(r) {
		a.functions.ServeHTTP(w, r)
		return
	}
	a.topics.ServeHTTP(w, r)
}
