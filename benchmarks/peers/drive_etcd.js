// Offers the access-control workload to members of etcd and prints one JSON object.
//
//   node drive_etcd.js URL,URL,URL CLIENTS PATIENTS
//
// Each of the six steps is one transaction with the condition that the contract would check. Clients
// work in a closed loop, each at one member. What counts is a transaction whose condition held; at
// the end the log of reads is counted again from another member.
'use strict';
const http = require('http');

const [urlsText, clientsText, patientsText] = process.argv.slice(2);
const urls = urlsText.split(',').map((one) => new URL(one));
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
const encoded = (text) => Buffer.from(text).toString('base64');
const CONTENT = 'x'.repeat(64);
const RETRY_MS = 100;
const RETRIES_MAX = 100;

function post(url, path, value) {
  const body = JSON.stringify(value);
  return new Promise((done, fail) => {
    const asked = http.request({
      agent, host: url.hostname, port: url.port, path, method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', fail);
      answer.on('end', () => {
        const text = Buffer.concat(parts).toString();
        if (answer.statusCode !== 200) fail(new Error(`${path}: ${answer.statusCode} ${text}`));
        else done(JSON.parse(text));
      });
    });
    asked.on('error', fail);
    asked.end(body);
  });
}

const isThere = (key) => ({ key: encoded(key), target: 'VERSION', result: 'GREATER', version: '0' });
const isNew = (key) => ({ key: encoded(key), target: 'VERSION', result: 'EQUAL', version: '0' });
const put = (key) => ({ requestPut: { key: encoded(key), value: encoded(CONTENT) } });
const take = (key) => ({ requestDeleteRange: { key: encoded(key) } });

function stepsOf(prefix, number) {
  const [patient, doctor, record, grant, entry] = ['patient', 'doctor', 'record', 'grant', 'read']
    .map((kind) => `${prefix}/${kind}/${number}`);
  return [
    ['register', [isNew(patient)], put(patient)],
    ['register', [isNew(doctor)], put(doctor)],
    ['add_record', [isThere(patient), isNew(record)], put(record)],
    ['grant', [isThere(patient), isThere(doctor), isNew(grant)], put(grant)],
    ['read', [isThere(grant), isThere(record)], put(entry)],
    ['revoke', [isThere(grant)], take(grant)],
  ].map(([kind, compare, success]) => ({ kind, asked: { compare, success: [success] } }));
}

async function waitElected(key) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      for (const url of urls) await post(url, '/v3/kv/txn', { compare: [], success: [put(key)] });
      return;
    } catch (problem) {
      if (attempt >= RETRIES_MAX) throw problem;
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

async function main() {
  const clients = Number(clientsText);
  const patients = Number(patientsText);
  const prefix = `${process.pid}-${Date.now()}`;
  await waitElected(`${prefix}/begin`);
  const waiting = Array.from({ length: patients }, (_, number) => stepsOf(prefix, number));
  const latenciesMs = [];
  const committed = {};
  let refused = 0;
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: clients }, async (_, client) => {
    const url = urls[client % urls.length];
    for (let steps = waiting.pop(); steps; steps = waiting.pop()) {
      for (const { kind, asked } of steps) {
        const sentMs = performance.now();
        const told = await post(url, '/v3/kv/txn', asked);
        latenciesMs.push(performance.now() - sentMs);
        if (told.succeeded) committed[kind] = (committed[kind] || 0) + 1;
        else refused += 1;
      }
    }
  }));
  const seconds = (performance.now() - startedMs) / 1000;
  const first = `${prefix}/read/`;
  const entries = await post(urls[urls.length - 1], '/v3/kv/range',
    { key: encoded(first), range_end: encoded(`${prefix}/read0`), count_only: true });
  if (Number(entries.count || 0) !== (committed.read || 0)) {
    throw new Error(`${entries.count} reads are in the log, ${committed.read} were answered`);
  }
  const total = Object.values(committed).reduce((sum, one) => sum + one, 0);
  latenciesMs.sort((one, other) => one - other);
  const at = (percent) => latenciesMs[Math.max(0, Math.ceil(latenciesMs.length * percent / 100) - 1)];
  console.log(JSON.stringify({
    clients, patients, seconds, tps: total / seconds, committed, refused,
    p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), max_ms: at(100),
  }));
  agent.destroy();
}

main().catch((problem) => { console.error(problem.message); process.exit(1); });
