// The same function as main.go, for Node.
import { appendFileSync } from 'node:fs';

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function act(what) {
  if (what === 'fail') throw new Error('it was told to fail: 失败 💥');
  if (what === 'crash') process.exit(3);
  if (what === 'hang') await pause(60_000);
  if (what === 'slow') await pause(300);
}

export async function handler(event, context) {
  appendFileSync(process.env.OUT, JSON.stringify({ request: context.awsRequestId, event }) + '\n');
  if (event.Records?.[0]?.eventSource !== 'aws:sqs') {
    await act(event.detail?.do);
    return null;
  }
  const batchItemFailures = [];
  for (const m of event.Records) {
    if (m.body === 'bad') batchItemFailures.push({ itemIdentifier: m.messageId });
    else await act(m.body);
  }
  return { batchItemFailures };
}
