// Offers the access-control workload to one Ethereum development node and prints one JSON object.
//
//   node drive.js URL CLIENTS PATIENTS
//
// Every transaction is signed before the clock starts. Each client sends its patients' transactions
// one after the other and waits for the receipt of each (closed loop, so this is saturation).
// A transaction counts only if its receipt, read back by a separate call, says status 1.
'use strict';
const fs = require('fs');
const path = require('path');
const { ethers } = require('ethers');
const solc = require('solc');

const [url, clientsText, patientsText] = process.argv.slice(2);
const GAS_PRICE = 20_000_000_000n;
const GAS_LIMIT = 300_000n;
const DAY_S = 86_400;
const POLL_MS = 2;
const RECEIPT_MS_MAX = 30_000;
let callId = 0;

async function call(method, params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: ++callId, method, params });
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const told = await answer.json();
  if (told.error) throw new Error(`${method}: ${told.error.message}`);
  return told.result;
}

function compileContract() {
  const content = fs.readFileSync(path.join(__dirname, 'access_control.sol'), 'utf8');
  const told = JSON.parse(solc.compile(JSON.stringify({
    language: 'Solidity',
    sources: { 'access_control.sol': { content } },
    settings: {
      optimizer: { enabled: true, runs: 200 },
      evmVersion: 'london',
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
    },
  })));
  const failed = (told.errors || []).filter((one) => one.severity === 'error');
  if (failed.length) throw new Error(failed[0].formattedMessage);
  const built = told.contracts['access_control.sol'].AccessControl;
  return { face: new ethers.Interface(built.abi), bytecode: `0x${built.evm.bytecode.object}` };
}

async function waitReceipt(hash) {
  const endMs = Date.now() + RECEIPT_MS_MAX;
  for (;;) {
    const receipt = await call('eth_getTransactionReceipt', [hash]);
    if (receipt) return receipt;
    if (Date.now() > endMs) throw new Error(`no receipt for ${hash} in time`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

function signing(chainId) {
  const nonces = new Map();
  return (wallet, fields) => {
    const nonce = nonces.get(wallet.address) || 0;
    nonces.set(wallet.address, nonce + 1);
    return wallet.signTransaction({
      type: 0, chainId, nonce, gasPrice: GAS_PRICE, gasLimit: GAS_LIMIT, ...fields,
    });
  };
}

// Returns, per patient, the five kinds in the order in which they depend on each other.
async function plan(face, to, sign, patients) {
  const untilS = Math.floor(Date.now() / 1000) + DAY_S;
  const plans = [];
  for (let number = 0; number < patients; number += 1) {
    const patient = ethers.Wallet.createRandom();
    const doctor = ethers.Wallet.createRandom();
    const record = ethers.id(`record ${number}`);
    const grant = ethers.id(`grant ${number}`);
    const rows = [
      ['register', patient, 'register', [1]],
      ['register', doctor, 'register', [2]],
      ['add_record', patient, 'addRecord', [record, ethers.id(`content ${number}`)]],
      ['grant', patient, 'grant', [grant, doctor.address, untilS]],
      ['read', doctor, 'read', [record, grant]],
      ['revoke', patient, 'revoke', [grant]],
    ];
    const steps = [];
    for (const [kind, wallet, name, words] of rows) {
      const raw = await sign(wallet, { to, data: face.encodeFunctionData(name, words) });
      steps.push({ kind, raw });
    }
    plans.push({ steps, people: [patient.address, doctor.address] });
  }
  return plans;
}

async function main() {
  const clients = Number(clientsText);
  const patients = Number(patientsText);
  const { face, bytecode } = compileContract();
  const [funder] = await call('eth_accounts', []);
  const chainId = BigInt(await call('eth_chainId', []));
  const deployed = await waitReceipt(
    await call('eth_sendTransaction', [{ from: funder, data: bytecode, gas: '0x2dc6c0' }]));
  const plans = await plan(face, deployed.contractAddress, signing(chainId), patients);
  for (const { people } of plans) {
    for (const to of people) {
      await waitReceipt(await call('eth_sendTransaction',
        [{ from: funder, to, value: '0x16345785d8a0000', gas: '0x5208' }]));
    }
  }

  const waiting = plans.map(({ steps }) => steps);
  const latenciesMs = [];
  const committed = {};
  let refused = 0;
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: clients }, async () => {
    for (let steps = waiting.pop(); steps; steps = waiting.pop()) {
      for (const { kind, raw } of steps) {
        const sentMs = performance.now();
        const receipt = await waitReceipt(await call('eth_sendRawTransaction', [raw]));
        latenciesMs.push(performance.now() - sentMs);
        if (receipt.status === '0x1') committed[kind] = (committed[kind] || 0) + 1;
        else refused += 1;
      }
    }
  }));
  const seconds = (performance.now() - startedMs) / 1000;
  const total = Object.values(committed).reduce((sum, one) => sum + one, 0);
  latenciesMs.sort((one, other) => one - other);
  const at = (percent) => latenciesMs[Math.max(0, Math.ceil(latenciesMs.length * percent / 100) - 1)];
  console.log(JSON.stringify({
    clients, patients, seconds, tps: total / seconds, committed, refused,
    p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), max_ms: at(100),
    note: 'single process, no consensus, not like for like',
  }));
}

main().catch((problem) => { console.error(problem.message); process.exit(1); });
