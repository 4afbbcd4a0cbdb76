// Runs a Node function: loads the file that _HANDLER names and speaks the Lambda
// Runtime API for it. What a function sees of its context, console and errors is as on AWS.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import util from 'node:util';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const env = process.env;
const root = env.LAMBDA_TASK_ROOT;
const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const exit = process.exit.bind(process);

let current; // the invocation under way
let settle; // ends it

// ---- The Runtime API

function request(method, what, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host, port, agent, method, path: '/2018-06-01/runtime/' + what, headers: { ...headers } };
    if (body !== undefined) options.headers['Content-Length'] = Buffer.byteLength(body);
    const req = http.request(options, (res) => {
      const parts = [];
      res.on('data', (part) => parts.push(part));
      res.on('error', reject);
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts).toString('utf8') }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

function post(what, body, kind) {
  const headers = { 'Content-Type': 'application/json' };
  if (kind) headers['Lambda-Runtime-Function-Error-Type'] = kind.replace(/[^\x20-\x7e]/g, '?');
  return request('POST', what, body, headers);
}

// ---- Errors

function named(kind, message, stack) {
  const error = new Error(message);
  error.name = kind;
  if (stack) error.stack = stack;
  return error;
}

function describe(error) {
  if (util.types.isNativeError(error) || (error && error.name && error.message !== undefined && error.stack)) {
    return {
      errorType: String(error.name),
      errorMessage: String(error.message),
      trace: String(error.stack || '').split('\n'),
    };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

// For the log: as console.error has it, with the error's other fields.
function forLog(error) {
  const { errorType, errorMessage, trace } = describe(error);
  const more = error !== null && typeof error === 'object' ? { ...error } : {};
  delete more.name;
  try {
    return JSON.stringify({ errorType, errorMessage, ...more, stack: trace });
  } catch {
    return JSON.stringify({ errorType, errorMessage, stack: trace });
  }
}

// ---- The console

const levels = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
const json = env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
const least = json ? levels[env.AWS_LAMBDA_LOG_LEVEL] || levels.INFO : 0;

// A NUL before a newline: the message goes on. It is written at once, also by a process that is about to end.
function write(message) {
  const bytes = Buffer.from(message.replace(/\n/g, '\0\n') + '\n');
  for (let done = 0; done < bytes.length; ) {
    try {
      done += fs.writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

function log(level, args) {
  if (levels[level] < least) return;
  const timestamp = new Date().toISOString();
  const requestId = current ? current.id : undefined;
  if (!json) {
    write([timestamp, requestId, level, util.format(...args)].join('\t'));
    return;
  }
  const line = { timestamp, level, requestId };
  const errors = args.filter((arg) => util.types.isNativeError(arg));
  if (args.length === 1 && typeof args[0] === 'object' && args[0] !== null && errors.length === 0) {
    line.message = args[0];
  } else {
    line.message = util.format(...args);
  }
  if (errors.length > 0) {
    const { errorType, errorMessage, trace } = describe(errors[0]);
    Object.assign(line, { errorType, errorMessage, stackTrace: trace.slice(1).map((frame) => frame.trim()) });
  }
  try {
    write(JSON.stringify(line));
  } catch {
    line.message = util.inspect(line.message);
    write(JSON.stringify(line));
  }
}

console.log = (...args) => log('INFO', args);
console.info = (...args) => log('INFO', args);
console.warn = (...args) => log('WARN', args);
console.error = (...args) => log('ERROR', args);
console.debug = (...args) => log('DEBUG', args);
console.trace = (...args) => log('TRACE', [util.format(...args) + '\n' + (new Error().stack || '').split('\n').slice(2).join('\n')]);
console.fatal = (...args) => log('FATAL', args);

// ---- The function's file

// isModule says whether a .js file is an ES module: its nearest package.json decides.
function isModule(file) {
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8')).type === 'module';
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    if (dir === root || dir === path.dirname(dir)) return false;
  }
}

function isFile(name) {
  return fs.statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
}

async function loadModule(base) {
  const require = createRequire(path.join(root, 'index.js'));
  if (isFile(base)) return require(base);
  if (isFile(base + '.js')) {
    return isModule(base + '.js') ? import(pathToFileURL(base + '.js').href) : require(base + '.js');
  }
  if (isFile(base + '.mjs')) return import(pathToFileURL(base + '.mjs').href);
  if (isFile(base + '.cjs')) return require(base + '.cjs');
  return require(path.relative(root, base)); // a package
}

async function loadHandler(name) {
  if (name.includes('..')) throw named('Runtime.MalformedHandlerName', `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  const dir = path.dirname(name);
  const match = path.basename(name).match(/^([^.]*)\.(.*)$/);
  if (!match) throw named('Runtime.MalformedHandlerName', 'Bad handler');
  let loaded;
  try {
    loaded = await loadModule(path.resolve(root, dir, match[1]));
  } catch (error) {
    if (error instanceof SyntaxError) throw named('Runtime.UserCodeSyntaxError', String(error), error.stack);
    if (error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND')) throw named('Runtime.ImportModuleError', String(error));
    throw error;
  }
  const find = (from) => match[2].split('.').reduce((value, key) => (value === undefined || value === null ? undefined : value[key]), from);
  let handler = find(loaded);
  if (handler === undefined && loaded?.default) handler = find(loaded.default);
  if (handler === undefined || handler === null) throw named('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw named('Runtime.HandlerNotFound', `${name} is not a function`);
  return handler;
}

// ---- Invocations

function contextOf(headers, done) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const parse = (text) => (text ? JSON.parse(text) : undefined);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parse(headers['lambda-runtime-client-context']),
    identity: parse(headers['lambda-runtime-cognito-identity']),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
    done: (error, result) => done(error, result),
    succeed: (result) => done(null, result),
    fail: (error) => done(error === undefined || error === null ? 'handled' : error),
  };
}

// call runs the handler and resolves with what it makes: {error} or {result}. A
// callback's outcome waits for the event loop to be empty, unless the function says otherwise; an
// event loop that is empty before there is an outcome means a result of null.
function call(handler, event, headers) {
  return new Promise((resolve) => {
    let outcome;
    let over = false;
    const end = (out) => {
      if (over) return;
      over = true;
      settle = undefined;
      resolve(out);
    };
    settle = () => end(outcome || { result: null });
    const finished = (out) => { // by context.done and its kin: at once
      outcome ??= out;
      end(outcome);
    };
    const context = contextOf(headers, (error, result) => finished(error === undefined || error === null ? { result } : { error }));
    const callback = (error, result) => {
      if (outcome) return;
      outcome = error === undefined || error === null ? { result } : { error };
      if (!context.callbackWaitsForEmptyEventLoop) end(outcome);
    };
    let returned;
    try {
      returned = handler(event, context, callback);
    } catch (error) {
      end({ error });
      return;
    }
    if (returned && typeof returned.then === 'function') {
      returned.then((result) => finished({ result }), (error) => finished({ error }));
    }
  });
}

process.on('beforeExit', () => {
  if (settle) settle();
});

async function fatal(kind, error) {
  write([new Date().toISOString(), current ? current.id : undefined, 'ERROR', kind, forLog(error)].join('\t'));
  const body = JSON.stringify(describe(error));
  try {
    if (current) await post(`invocation/${current.id}/error`, body, describe(error).errorType);
    else await post('init/error', body, describe(error).errorType);
  } finally {
    exit(kind === 'Uncaught Exception' ? 129 : 128);
  }
}

process.on('uncaughtException', (error) => fatal('Uncaught Exception', error));
process.on('unhandledRejection', (reason, promise) => {
  const error = named('Runtime.UnhandledPromiseRejection', String(reason));
  error.reason = reason;
  error.promise = promise;
  if (reason && reason.stack) error.stack = 'Runtime.UnhandledPromiseRejection: ' + reason.stack;
  fatal('Unhandled Promise Rejection', error);
});

function encode(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? 'null';
  } catch {
    throw named('Runtime.MarshalError', 'Unable to stringify response body');
  }
}

async function invoke(handler, res) {
  const id = res.headers['lambda-runtime-aws-request-id'];
  env._X_AMZN_TRACE_ID = res.headers['lambda-runtime-trace-id'] || '';
  current = { id };
  let body;
  try {
    const out = await call(handler, JSON.parse(res.body), res.headers);
    if ('error' in out) throw out.error;
    body = encode(out.result);
  } catch (error) {
    const described = describe(error);
    write([new Date().toISOString(), id, 'ERROR', 'Invoke Error', forLog(error)].join('\t'));
    await post(`invocation/${id}/error`, JSON.stringify(described), described.errorType);
    current = undefined;
    return;
  }
  await post(`invocation/${id}/response`, body);
  current = undefined;
}

let handler;
try {
  handler = await loadHandler(env._HANDLER);
} catch (error) {
  await fatal('Uncaught Exception', error);
}
for (;;) {
  let res;
  try {
    res = await request('GET', 'invocation/next');
  } catch {
    exit(1); // the server is gone
  }
  if (res.status !== 200) exit(1);
  await invoke(handler, res);
}
