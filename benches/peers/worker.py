"""A lifecycle worker as most people write it: boto3 and threads. `worker.py QUEUE_URL LAUNCHES`.

Each thread receives ten messages and sees each of them through: key, association, status, completion, deletion. One client per
service, shared by the threads, with a pool that fits them.
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

THREADS = 32

queue_url, launches = sys.argv[1], int(sys.argv[2])
config = Config(max_pool_connections=THREADS)
sqs, ssm, autoscaling, opsworks_cm = (
    boto3.client(name, config=config) for name in ("sqs", "ssm", "autoscaling", "opsworkscm")
)
done = 0
lock = threading.Lock()


def enrol(message):
    event = json.loads(message["Body"])
    if event.get("LifecycleTransition") != "autoscaling:EC2_INSTANCE_LAUNCHING":
        return
    instance = event["EC2InstanceId"]
    key = ssm.get_parameter(Name=f"/enrolld/{instance}/public-key", WithDecryption=True)["Parameter"]["Value"]
    token = opsworks_cm.associate_node(
        ServerName="chef",
        NodeName=instance,
        EngineAttributes=[
            {"Name": "CHEF_ORGANIZATION", "Value": "default"},
            {"Name": "CHEF_NODE_PUBLIC_KEY", "Value": key},
        ],
    )["NodeAssociationStatusToken"]
    while True:
        status = opsworks_cm.describe_node_association_status(ServerName="chef", NodeAssociationStatusToken=token)
        if status["NodeAssociationStatus"] != "IN_PROGRESS":
            break
        time.sleep(5)
    autoscaling.complete_lifecycle_action(
        AutoScalingGroupName=event["AutoScalingGroupName"],
        LifecycleHookName=event["LifecycleHookName"],
        LifecycleActionToken=event["LifecycleActionToken"],
        InstanceId=instance,
        LifecycleActionResult="CONTINUE" if status["NodeAssociationStatus"] == "SUCCESS" else "ABANDON",
    )


def work():
    global done
    while done < launches:
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            enrol(message)
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            with lock:
                done += 1


with ThreadPoolExecutor(THREADS) as threads:
    for worker in [threads.submit(work) for _ in range(THREADS)]:
        worker.result()
