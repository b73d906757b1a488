// Creates a deployment, runs it and follows the run to its settled end, whatever happens to the service meanwhile.
//   DEPLOYMENT_SERVICE_TARGET=127.0.0.1:50051 DEPLOYMENT_API_KEY=... DEPLOYMENT_TENANT=demo node deploy.mjs hello 'make deploy'
// Written from the comments in protos/ alone; it needs no generated code.
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const { DEPLOYMENT_SERVICE_TARGET: target, DEPLOYMENT_API_KEY: key, DEPLOYMENT_TENANT: tenant } = process.env;
const protos = fileURLToPath(new URL("../../protos", import.meta.url));
const contract = protoLoader.loadSync("deployment_service/v1/deployment_service.proto", {
  includeDirs: [protos], longs: String, enums: String, oneofs: true, defaults: true,
});
const { DeploymentService } = grpc.loadPackageDefinition(contract).deployment_service.v1;
const client = new DeploymentService(target, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${key}`);
// The conventions of the contract name the codes after which the same request is sent again.
const { UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, CANCELLED } = grpc.status;
const passes = (error) => [UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED].includes(error.code);

/** Calls a method, again with the same `request_id` while the service is unavailable. */
async function call(method, request, alsoRetried = () => false) {
  for (let pause_ms = 100; ; pause_ms = Math.min(2 * pause_ms, 5_000)) {
    try {
      return await new Promise((resolve, reject) => {
        const options = { deadline: Date.now() + 30_000 };
        client[method](request, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    } catch (error) {
      if (!passes(error) && !alsoRetried(error)) throw error;
      await sleep(pause_ms);
    }
  }
}

/** Yields every event after `token` once and in order; throws if one was lost. */
async function* watch(names, token) {
  let accounted; // the sequence up to which everything was seen
  for (let pause_ms = 100; ; pause_ms = Math.min(2 * pause_ms, 5_000)) {
    const stream = client.watchDeployments({ parent: `tenants/${tenant}`, names, resumeToken: token }, metadata);
    let silence = setTimeout(() => stream.cancel(), 30_000);
    try {
      let max_silence_ms = 30_000;
      for await (const message of stream) {
        if (message.start) max_silence_ms = 1_000 * Number(message.start.maxSilence.seconds) + 1_000;
        clearTimeout(silence);
        silence = setTimeout(() => stream.cancel(), max_silence_ms);
        if (message.reset) throw new Error(`the history cannot be continued: ${message.reset.reason}`);
        const said = message.event ?? message.bookmark;
        if (!said) continue;
        if (accounted !== undefined && message.prevSequence !== accounted) throw new Error(`lost after ${accounted}`);
        [accounted, token, pause_ms] = [said.sequence, message.resumeToken, 100];
        if (message.event) yield message.event;
      }
    } catch (error) {
      if (!passes(error) && error.code !== CANCELLED) throw error;
    } finally {
      clearTimeout(silence);
      stream.cancel();
    }
    await sleep(pause_ms);
  }
}

const [slug, shell] = process.argv.slice(2);
const name = `tenants/${tenant}/deployments/${slug}`;
const jobIsBeingCreated = (error) => error.metadata?.get("error-reason")[0] === "JOB_NOT_READY";
await call("createDeployment", {
  parent: `tenants/${tenant}`, deploymentId: slug, requestId: randomUUID(),
  deployment: { provider: `tenants/${tenant}/providers/main`, job: { freestyleShell: shell } },
});
const { run, resumeToken } = await call("runDeployment", { name, requestId: randomUUID() }, jobIsBeingCreated);
for await (const event of watch([name], resumeToken)) {
  if (event.run !== run.name) continue;
  console.log(event.sequence, event.type, event.oldRunStatus, "->", event.runStatus, event.certainty);
  // A reported end may still be withdrawn; the first event with another certainty settles the run.
  if (event.certainty === "CERTAINTY_CONFIRMED" || event.certainty === "CERTAINTY_UNVERIFIABLE") break;
}
client.close();
