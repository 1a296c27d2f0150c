"""SQS and SSM that are not the simulator's. Auto Scaling is still simulated, and knows only its own queue and its own instances'
parameters: a bridge carries the notifications and the keys over, one notification in ten twice."""

import collections
import json
import random
import threading
import urllib.error
import urllib.request

DUPLICATES = 0.1


def call(url, target, **request):
    """One call of SQS or SSM. Nobody here checks signatures; the simulator wants to see whose they are."""
    service = "ssm" if target.startswith("AmazonSSM") else "sqs"
    headers = {
        "Content-Type": "application/x-amz-json-1." + ("1" if service == "ssm" else "0"),
        "X-Amz-Target": target,
        "X-Amz-Date": "20260302T080000Z",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=simulated/20260302/eu-central-1/{service}/aws4_request, SignedHeaders=host, Signature=0",
    }
    order = urllib.request.Request(url, data=json.dumps(request).encode(), headers=headers)
    try:
        with urllib.request.urlopen(order, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{target}: {error.code} {error.read()[:300]!r}") from error


class Elsewhere:
    def __init__(self, sqs, ssm, simulator, account, queue, dead_letters, seed):
        self.sqs, self.ssm, self.simulator = sqs, ssm, simulator
        self.source = f"{simulator}/{account}/{queue}"
        self.dead_letters_url = self.queue(dead_letters)
        arn = self.attributes(self.dead_letters_url, "QueueArn")["QueueArn"]
        self.queue_url = self.queue(queue, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100}))
        self.dice, self.counts, self.keys = random.Random(seed), collections.Counter(), []
        self.over, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def queue(self, name, **attributes):
        return call(self.sqs, "AmazonSQS.CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]

    def attributes(self, url, *names):
        return call(self.sqs, "AmazonSQS.GetQueueAttributes", QueueUrl=url, AttributeNames=list(names))["Attributes"]

    def carry(self):
        try:
            while not self.over.is_set():
                if not self.carry_messages() + self.carry_keys():
                    self.over.wait(0.05)
        except Exception as error:  # told at the end: a bridge that broke would look like a loss
            self.failure = error

    def carry_messages(self):
        received = call(self.simulator, "AmazonSQS.ReceiveMessage", QueueUrl=self.source, MaxNumberOfMessages=10).get("Messages", [])
        for message in received:
            body = json.loads(message["Body"])
            if body.get("LifecycleTransition", "").endswith("LAUNCHING"):
                self.keys.append(f"/enrolld/{body['EC2InstanceId']}/public-key")
            twice = self.dice.random() < DUPLICATES
            self.counts["twice"] += twice
            for _ in range(1 + twice):
                call(self.sqs, "AmazonSQS.SendMessage", QueueUrl=self.queue_url, MessageBody=message["Body"])
                self.counts["messages"] += 1
            call(self.simulator, "AmazonSQS.DeleteMessage", QueueUrl=self.source, ReceiptHandle=message["ReceiptHandle"])
        return len(received)

    def carry_keys(self):
        """What instances have published meanwhile, as if they had written it here."""
        names, carried = self.keys[:10], 0
        found = call(self.simulator, "AmazonSSM.GetParameters", Names=names)["Parameters"] if names else []
        for parameter in found:
            call(self.ssm, "AmazonSSM.PutParameter", Name=parameter["Name"], Value=parameter["Value"], Type="String", Overwrite=True)
            carried += 1
        there = {parameter["Name"] for parameter in found}
        self.keys = [name for name in self.keys[10:] + names if name not in there]
        self.counts["keys"] += carried
        return carried

    def left(self):
        """How many messages are in the queue, those in hand and those on their way here included."""
        counts = ["", "NotVisible", "Delayed"]
        attributes = self.attributes(self.queue_url, *(f"ApproximateNumberOfMessages{count}" for count in counts))
        source = call(self.simulator, "AmazonSQS.GetQueueAttributes", QueueUrl=self.source, AttributeNames=["All"])["Attributes"]
        both = (attributes, source)
        return sum(int(of.get(f"ApproximateNumberOfMessages{count}", 0)) for of in both for count in counts)

    def letters(self):
        """The dead letters, as the simulator's state shows its own."""
        letters = []
        while True:
            request = {"QueueUrl": self.dead_letters_url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
            received = call(self.sqs, "AmazonSQS.ReceiveMessage", **request).get("Messages", [])
            if not received:
                return letters
            for message in received:
                attributes = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
                letters.append({"body": message["Body"], "attributes": attributes})
                call(self.sqs, "AmazonSQS.DeleteMessage", QueueUrl=self.dead_letters_url, ReceiptHandle=message["ReceiptHandle"])

    def stop(self):
        self.over.set()
        self.thread.join(30)
        if self.failure:
            raise self.failure
