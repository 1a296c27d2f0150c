// A lifecycle worker as most people write it: sqs-consumer and the AWS SDK v3. `worker.mjs QUEUE_URL LAUNCHES`.
//
// sqs-consumer receives ten messages and hands each to `handleMessage`, all ten at once; what it returns for is deleted. Four of
// them on one queue keep the process busy. One client per service.

import { AutoScalingClient, CompleteLifecycleActionCommand } from "@aws-sdk/client-auto-scaling";
import { AssociateNodeCommand, DescribeNodeAssociationStatusCommand, OpsWorksCMClient } from "@aws-sdk/client-opsworkscm";
import { SQSClient } from "@aws-sdk/client-sqs";
import { GetParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { setTimeout as sleep } from "node:timers/promises";
import { Consumer } from "sqs-consumer";

const CONSUMERS = 4;

const [queueUrl, count] = process.argv.slice(2);
const launches = Number(count);
const [sqs, ssm, autoScaling, opsWorksCM] = [new SQSClient(), new SSMClient(), new AutoScalingClient(), new OpsWorksCMClient()];
let done = 0;

async function enrol(message) {
  const event = JSON.parse(message.Body);
  if (event.LifecycleTransition !== "autoscaling:EC2_INSTANCE_LAUNCHING") return message;
  const instance = event.EC2InstanceId;
  const key = await ssm.send(new GetParameterCommand({ Name: `/enrolld/${instance}/public-key`, WithDecryption: true }));
  const { NodeAssociationStatusToken } = await opsWorksCM.send(
    new AssociateNodeCommand({
      ServerName: "chef",
      NodeName: instance,
      EngineAttributes: [
        { Name: "CHEF_ORGANIZATION", Value: "default" },
        { Name: "CHEF_NODE_PUBLIC_KEY", Value: key.Parameter.Value },
      ],
    }),
  );
  let status;
  for (;;) {
    const answer = await opsWorksCM.send(
      new DescribeNodeAssociationStatusCommand({ ServerName: "chef", NodeAssociationStatusToken }),
    );
    status = answer.NodeAssociationStatus;
    if (status !== "IN_PROGRESS") break;
    await sleep(5000);
  }
  await autoScaling.send(
    new CompleteLifecycleActionCommand({
      AutoScalingGroupName: event.AutoScalingGroupName,
      LifecycleHookName: event.LifecycleHookName,
      LifecycleActionToken: event.LifecycleActionToken,
      InstanceId: instance,
      LifecycleActionResult: status === "SUCCESS" ? "CONTINUE" : "ABANDON",
    }),
  );
  return message;
}

const consumers = Array.from({ length: CONSUMERS }, () => {
  const consumer = Consumer.create({ queueUrl, sqs, batchSize: 10, waitTimeSeconds: 1, handleMessage: enrol });
  for (const trouble of ["error", "processing_error", "timeout_error"]) {
    consumer.on(trouble, (error) => {
      console.error(error);
      process.exit(1);
    });
  }
  consumer.on("message_processed", () => {
    done += 1;
    // The deletions that are on their way are waited for.
    if (done >= launches) for (const each of consumers) each.stop();
  });
  return consumer;
});
for (const consumer of consumers) consumer.start();
