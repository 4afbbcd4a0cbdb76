package cli

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/rialto-bus/rialto/examples/exporter"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
)

const (
	demoKind = "AWS::Lambda::Function"
	// demoRuleStack and demoLambdaRule are a stack, and the rule of its template.
	demoRuleStack  = "exporter-lambda-rule"
	demoLambdaRule = "exporter-lambda-functions"
)

// playExporter has the catalog follow Lambda functions.
func (d *demo) playExporter(ctx context.Context) error {
	k, ok := kind.Find(demoKind)
	if !ok {
		return fmt.Errorf("there is no kind %s", demoKind)
	}
	for _, step := range []func(context.Context, *kind.Kind) error{d.installExporter, d.followFunction, d.loseEvent} {
		if err := step(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// installExporter deploys the queue and the event rule, and configures the kind.
func (d *demo) installExporter(ctx context.Context, k *kind.Kind) error {
	f := installFlags{account: demoAccount, stack: kind.QueueStack}
	in, err := f.install(ctx, d.s, d.api, demoRegion)
	if err != nil {
		return fmt.Errorf("install the exporter's queue: %w", err)
	}
	if in.row.State != "installed" {
		return fmt.Errorf("the exporter's queue is %s: %s", in.row.State, text(in.row.Why))
	}
	d.stepf("Exporter: stack %s has its queue, and exports %s", f.stack, text(in.row.Export))
	// This demo says when.
	if err := d.api.do(ctx, http.MethodPut, exporterPath("sync_settings"), map[string]string{"interval": "0s"}, nil); err != nil {
		return fmt.Errorf("switch off the schedule of full syncs: %w", err)
	}
	if err := d.configure(ctx, k); err != nil {
		return err
	}
	if err := d.deploy(ctx, demoRuleStack, exporter.LambdaRule()); err != nil {
		return fmt.Errorf("deploy %s: %w", demoRuleStack, err)
	}
	d.stepf("Exporter: blueprint and mapping of %s are set, and its event rule is deployed as the template is", k.Name)
	return nil
}

// configure sets the first blueprints and the configuration of a kind, as 'exporter
// init' writes them.
func (d *demo) configure(ctx context.Context, k *kind.Kind) error {
	files, err := kind.Initial([]*kind.Kind{k}, []string{demoRegion})
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name == kind.ConfigFile {
			in := map[string]any{"config": json.RawMessage(f.Text)}
			if err := d.api.do(ctx, http.MethodPut, exporterPath("config"), in, nil); err != nil {
				return fmt.Errorf("set %s: %w", f.Name, err)
			}
			continue
		}
		var blueprints []json.RawMessage
		if err := json.Unmarshal(f.Text, &blueprints); err != nil {
			return err
		}
		for _, b := range blueprints {
			if err := d.api.do(ctx, http.MethodPost, catalogPath("blueprints"), b, nil); err != nil {
				return fmt.Errorf("create a blueprint of %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// deploy creates a stack and waits for it.
func (d *demo) deploy(ctx context.Context, name, template string) error {
	client := cloudformation.New(cloudformation.Options{Region: demoRegion, BaseEndpoint: &d.url, Credentials: demoCredentials})
	if _, err := client.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: &name, TemplateBody: &template}); err != nil {
		return err
	}
	waiter := cloudformation.NewStackCreateCompleteWaiter(client, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	})
	return waiter.Wait(ctx, &cloudformation.DescribeStacksInput{StackName: &name}, demoPatience)
}

// followFunction creates, changes and deletes a function, and checks its entity after each.
func (d *demo) followFunction(ctx context.Context, k *kind.Kind) error {
	const name = "checkout"
	arn := functionARN(name)
	if err := d.createFunction(ctx, name); err != nil {
		return err
	}
	steps := []struct {
		call, event, said string
		do                func() error
		memory            float64 // 0: no entity
	}{
		{"CreateFunction", "entity.created", "created", nil, 128},
		{"UpdateFunctionConfiguration", "entity.updated", "given 512 MiB", func() error {
			_, err := d.lambda().UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String(name), MemorySize: aws.Int32(512)})
			return err
		}, 512},
		{"DeleteFunction", "entity.deleted", "deleted", func() error {
			_, err := d.lambda().DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String(name)})
			return err
		}, 0},
	}
	for _, step := range steps {
		if step.do != nil {
			if err := step.do(); err != nil {
				return fmt.Errorf("%s: %w", step.call, err)
			}
		}
		lag, err := d.await(ctx, []span{{step.call + " " + name, step.event + " " + arn}})
		if err != nil {
			return fmt.Errorf("the catalog does not follow function %s, which was %s: %w", name, step.said, err)
		}
		if err := d.checkFunction(ctx, k, arn, step.memory); err != nil {
			return err
		}
		d.stepf("Function %s was %s, its entity followed; from event to change %s", name, step.said, lag)
	}
	return nil
}

// checkFunction compares a function's entity with what it should be.
func (d *demo) checkFunction(ctx context.Context, k *kind.Kind, arn string, memory float64) error {
	var got struct {
		Entity struct {
			Properties struct {
				Memory float64 `json:"memory"`
			} `json:"properties"`
		} `json:"entity"`
	}
	err := d.api.do(ctx, http.MethodGet, catalogPath("blueprints", k.Entity.Blueprint, "entities", arn), nil, &got)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusNotFound {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("read entity %s: %w", arn, err)
	}
	if got.Entity.Properties.Memory != memory {
		return fmt.Errorf("check failed: entity %s says %v MiB, want %v", arn, got.Entity.Properties.Memory, memory)
	}
	return nil
}

// loseEvent creates a function while the event rule is off, and checks that the full
// sync finds what no event told.
func (d *demo) loseEvent(ctx context.Context, k *kind.Kind) error {
	const name = "refunds"
	if run, err := d.sync(ctx); err != nil {
		return err
	} else if run.Created+run.Updated+run.Removed+run.Drift != 0 {
		return fmt.Errorf("check failed: a full sync changed something that the events had not: %+v", run.syncCounts)
	}
	d.stepf("A full sync finds that the events missed nothing")
	events := d.events(demoRegion)
	if _, err := events.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: aws.String(demoLambdaRule)}); err != nil {
		return fmt.Errorf("disable the event rule: %w", err)
	}
	if err := d.createFunction(ctx, name); err != nil {
		return err
	}
	run, err := d.sync(ctx)
	if err != nil {
		return err
	}
	// Not before: the event of the call may be on its way to the rule until now.
	if _, err := events.EnableRule(ctx, &eventbridge.EnableRuleInput{Name: aws.String(demoLambdaRule)}); err != nil {
		return fmt.Errorf("enable the event rule: %w", err)
	}
	if err := d.checkFunction(ctx, k, functionARN(name), 128); err != nil {
		return err
	}
	drift, err := listAll[shown[drift]](ctx, d.api, exporterPath("drift")+"?run="+run.ID)
	if err != nil {
		return fmt.Errorf("read the drift report: %w", err)
	}
	if len(drift) != 1 || drift[0].row.Missed != "create" || drift[0].row.Kind != k.Name {
		return fmt.Errorf("check failed: the drift report after one lost event is %+v", drift)
	}
	d.stepf("Function %s was created while the rule was off: the full sync added it in %s, and reports the lost event", name, took(run.StartedAt, run.FinishedAt))
	r := drift[0].row
	d.stepf("Drift: missed %s of %s %s, between %s and %s", r.Missed, r.Kind, r.Identifier, when(r.Since), when(r.FoundAt))
	return nil
}

// sync runs a full sync that waits for no event that may be on its way.
func (d *demo) sync(ctx context.Context) (exporterRun, error) {
	var run shown[exporterRun]
	if err := d.api.do(ctx, http.MethodPost, runPath(), map[string]float64{"grace_seconds": 0}, &run); err != nil {
		return run.row, fmt.Errorf("run a full sync: %w", err)
	}
	for !run.row.over() {
		select {
		case <-ctx.Done():
			return run.row, fmt.Errorf("full sync %s has not ended: %w", run.row.ID, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
		if err := d.api.do(ctx, http.MethodGet, runPath(run.row.ID), nil, &run); err != nil {
			return run.row, fmt.Errorf("follow full sync %s: %w", run.row.ID, err)
		}
	}
	return run.row, run.row.failure()
}

func functionARN(name string) string {
	return "arn:aws:lambda:" + demoRegion + ":" + demoAccount + ":function:" + name
}

func (d *demo) lambda() *lambda.Client {
	return lambda.New(lambda.Options{Region: demoRegion, BaseEndpoint: &d.url, Credentials: demoCredentials})
}

// createFunction makes a function that nobody calls.
func (d *demo) createFunction(ctx context.Context, name string) error {
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	w, err := z.Create("bootstrap")
	if err == nil {
		_, err = w.Write([]byte("#!/bin/sh\n"))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return err
	}
	_, err = d.lambda().CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Role: aws.String("arn:aws:iam::" + demoAccount + ":role/functions"), Code: &lambdatypes.FunctionCode{ZipFile: code.Bytes()},
	})
	if err != nil {
		return fmt.Errorf("create function %s: %w", name, err)
	}
	return nil
}
