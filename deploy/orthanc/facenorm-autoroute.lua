-- Sends photographs to the modality "facenorm" as soon as Orthanc has stored them.
--
-- Every photograph that is sent gets a result, if only "no face found": narrow the condition down where your
-- archive also holds photographs of other parts of the body, for example by tags['BodyPartExamined'].
--
-- Photographs that the node did not take, because it was away or its disk full, are sent again: with the next
-- photograph, with the next study that is complete, and from Orthanc 1.11.1 on every `LuaHeartBeatPeriod`
-- seconds. Orthanc forgets them when it ends; send those by hand (README.md of facenorm).

local MODALITY = 'facenorm'

local PHOTOGRAPHS = {
   ['1.2.840.10008.5.1.4.1.1.77.1.4'] = true, -- VL Photographic Image Storage
   -- Some gateways make photographs Secondary Captures; scans and screenshots are, too.
   -- ['1.2.840.10008.5.1.4.1.1.7'] = true,
}

-- Orthanc's identifiers of instances, by the job that sends them; and of those that were not taken.
local under_way = {}
local missed = {}

local function send(instanceId)
   -- A job of its own, which fails visibly; that of SendToModality succeeds whatever the node says.
   local answer = RestApiPost('/modalities/' .. MODALITY .. '/store',
                              DumpJson({ Resources = { instanceId }, Synchronous = false }, true))
   under_way[ParseJson(answer)['ID']] = instanceId
end

local function sendMissed()
   local again = missed
   missed = {}
   for instanceId, _ in pairs(again) do
      -- It may have been deleted since.
      if not pcall(send, instanceId) then
         PrintRecursive('facenorm: an instance that was missed cannot be sent any more: ' .. instanceId)
      end
   end
end

function OnStoredInstance(instanceId, tags, metadata, origin)
   -- What facenorm itself sent back it would ignore; there is no need to send it.
   if PHOTOGRAPHS[tags['SOPClassUID']] and tags['Manufacturer'] ~= 'facenorm' then
      send(instanceId)
      sendMissed()
   end
end

function OnStableStudy(studyId, tags, metadata)
   sendMissed()
end

function OnHeartBeat()
   sendMissed()
end

function OnJobSuccess(jobId)
   under_way[jobId] = nil
end

function OnJobFailure(jobId)
   local instanceId = under_way[jobId]
   if instanceId ~= nil then
      under_way[jobId] = nil
      missed[instanceId] = true
   end
end
